import { type Clock, systemClock } from '../core/clock.ts'
import { backoffMs } from './backoff.ts'

export interface HeadSocketSettings {
  /** `ws:` or `wss:`; it may hold credentials and is never logged. */
  readonly url: string
  /** Milliseconds without a word after which the connection counts as dead, 60,000 unless told. It is asked for one in between. */
  readonly silentMs?: number
}

export interface HeadSocketDeps {
  /** Called when the endpoint says that there is a new head. */
  readonly wake: () => void
  readonly clock?: Clock
  readonly random?: () => number
}

/** How the socket is doing. `wakes` counts wake-ups since the start. */
export interface HeadSocketStatus {
  /** Host and port. */
  readonly endpoint: string
  readonly connected: boolean
  readonly wakes: number
  readonly failures: number
}

/** Milliseconds between two wake-ups, at least: whoever tells of more heads gains nothing. */
const WAKE_EVERY_MS = 10
/** Characters of a message that are looked at: a header is much shorter. */
const LONGEST_MESSAGE = 64 * 1024

/**
 * Wakes whoever polls as soon as an endpoint tells of a new head over WebSocket (`eth_subscribe`). Nothing of what it says is believed or
 * kept: without it, or when it lies, heads are found by polling, a moment later. It connects again for ever, with back-off.
 */
export class HeadSocket {
  readonly #settings: HeadSocketSettings
  readonly #wake: () => void
  readonly #clock: Clock
  readonly #random: () => number
  readonly #host: string
  #connected = false
  #wakes = 0
  #failures = 0
  #wokeAt = 0
  #wakeDue = false

  /** Throws `TypeError` where the address is none. */
  constructor(settings: HeadSocketSettings, deps: HeadSocketDeps) {
    this.#settings = settings
    this.#wake = deps.wake
    this.#clock = deps.clock ?? systemClock
    this.#random = deps.random ?? Math.random
    this.#host = new URL(settings.url).host
  }

  status(): HeadSocketStatus {
    return {
      endpoint: this.#host,
      connected: this.#connected,
      wakes: this.#wakes,
      failures: this.#failures,
    }
  }

  /** Listens until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let inARow = 0
    while (!signal.aborted) {
      const heard = await this.#listen(signal)
      this.#connected = false
      if (signal.aborted) return
      this.#failures++
      inARow = heard ? 1 : inARow + 1
      await this.#clock.sleep(backoffMs(inARow, this.#random), signal)
    }
  }

  /** One connection, to its end; answers whether it ever told of a head. */
  #listen(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const silentMs = this.#settings.silentMs ?? 60_000
      let heard = false
      let spoke = this.#clock.now()
      let socket: WebSocket
      try {
        socket = new WebSocket(this.#settings.url)
      } catch {
        resolve(false)
        return
      }
      // A peer that is gone without a word is found by asking it something.
      const pulse = setInterval(() => {
        if (this.#clock.now() - spoke > silentMs) end()
        else if (socket.readyState === WebSocket.OPEN)
          socket.send('{"jsonrpc":"2.0","id":2,"method":"eth_chainId","params":[]}')
      }, silentMs / 3)
      const end = () => {
        clearInterval(pulse)
        signal.removeEventListener('abort', end)
        socket.onopen = socket.onmessage = socket.onclose = null
        // An error after this has nobody to tell.
        socket.onerror = () => {}
        socket.close()
        resolve(heard)
      }
      signal.addEventListener('abort', end, { once: true })
      socket.onopen = () => {
        this.#connected = true
        socket.send('{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}')
      }
      socket.onmessage = ({ data }) => {
        spoke = this.#clock.now()
        if (typeof data !== 'string' || data.length > LONGEST_MESSAGE) return
        if (!data.includes('"eth_subscription"')) return
        heard = true
        this.#heard(signal)
      }
      socket.onclose = socket.onerror = end
    })
  }

  /** Wakes now, or as soon as it may: that a head came too soon after another is no reason to miss it. */
  #heard(signal: AbortSignal): void {
    if (this.#wakeDue) return
    const wait = this.#wokeAt + WAKE_EVERY_MS - this.#clock.now()
    const wake = () => {
      this.#wakeDue = false
      this.#wokeAt = this.#clock.now()
      this.#wakes++
      this.#wake()
    }
    // A clock that was set back must not keep it waiting.
    if (wait <= 0 || wait > WAKE_EVERY_MS) wake()
    else {
      this.#wakeDue = true
      void this.#clock.sleep(wait, signal).then(wake)
    }
  }
}
