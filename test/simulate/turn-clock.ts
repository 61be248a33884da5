import type { Clock } from '../../src/core/clock.ts'

/**
 * A clock that runs `rate` times as fast as the world, but only while this process does: a tick adds at most `MOST_MS`, so on a
 * busy machine time stands still with the engine and nothing times out that was never given a turn.
 */
export interface TurnClock extends Clock {
  stop(): void
}

const MOST_MS = 3

export function createTurnClock(rate: number, startMs: number): TurnClock {
  let time = startMs
  let last = performance.now()
  const sleepers = new Set<{ at: number; wake: () => void }>()
  const timer = setInterval(() => {
    const now = performance.now()
    time += Math.min(MOST_MS, now - last) * rate
    last = now
    for (const sleeper of sleepers) if (sleeper.at <= time) sleeper.wake()
  }, 1)
  return {
    now: () => Math.floor(time),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve()
        const wake = () => {
          sleepers.delete(sleeper)
          signal?.removeEventListener('abort', wake)
          resolve()
        }
        const sleeper = { at: time + ms, wake }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', wake, { once: true })
      }),
    stop() {
      clearInterval(timer)
      for (const sleeper of [...sleepers]) sleeper.wake()
    },
  }
}
