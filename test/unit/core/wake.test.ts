import { describe, expect, it, vi } from 'vitest'
import { Wake } from '../../../src/core/wake.ts'

/** Whether a promise has settled once all that is due now has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  void promise.then(() => {
    settled = true
  })
  await vi.advanceTimersByTimeAsync(0)
  return settled
}

describe('Wake', () => {
  const fake = (run: () => Promise<void>) => async () => {
    vi.useFakeTimers()
    try {
      await run()
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  }

  it(
    'wakes everybody who waits',
    fake(async () => {
      const wake = new Wake()
      const waiting = [wake.wait(1_000), wake.wait(1_000)]
      expect(await isSettled(Promise.race(waiting))).toBe(false)
      wake.wake()
      await Promise.all(waiting)
    }),
  )

  it(
    'keeps one wake-up for the next to wait, however many there were',
    fake(async () => {
      const wake = new Wake()
      wake.wake()
      wake.wake()
      expect(await isSettled(wake.wait(1_000))).toBe(true)
      const second = wake.wait(1_000)
      expect(await isSettled(second)).toBe(false)
      await vi.advanceTimersByTimeAsync(1_000)
      await second
    }),
  )

  it(
    'leaves nothing over for later when somebody was woken',
    fake(async () => {
      const wake = new Wake()
      const first = wake.wait(1_000)
      wake.wake()
      await first
      const second = wake.wait(1_000)
      expect(await isSettled(second)).toBe(false)
      wake.wake()
      await second
    }),
  )

  it(
    'ends after its time, and not before',
    fake(async () => {
      const waiting = new Wake().wait(50)
      await vi.advanceTimersByTimeAsync(49)
      expect(await isSettled(waiting)).toBe(false)
      await vi.advanceTimersByTimeAsync(1)
      await waiting
    }),
  )

  it(
    'ends when its signal aborts, at once where it has',
    fake(async () => {
      const wake = new Wake()
      const stop = new AbortController()
      const waiting = wake.wait(1_000, stop.signal)
      expect(await isSettled(waiting)).toBe(false)
      stop.abort()
      await waiting
      await wake.wait(1_000, stop.signal)
    }),
  )
})
