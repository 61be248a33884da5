/**
 * A wake-up between stages of one process. It carries no data and may be lost with the process: whoever waits also
 * looks for work on its own after `ms`, so a missed wake-up costs time and never a row.
 */
export class Wake {
  #waiting: (() => void)[] = []
  #woken = false

  /** Wakes everybody who waits, or the next one to wait. */
  wake(): void {
    this.#woken = true
    for (const go of this.#waiting.splice(0)) go()
  }

  /** Resolves when woken, after `ms`, or when `signal` aborts; never rejects. */
  wait(ms: number, signal?: AbortSignal): Promise<void> {
    if (this.#woken || signal?.aborted) {
      this.#woken = false
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        this.#woken = false
        const at = this.#waiting.indexOf(done)
        if (at >= 0) this.#waiting.splice(at, 1)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal?.addEventListener('abort', done, { once: true })
      this.#waiting.push(done)
    })
  }
}
