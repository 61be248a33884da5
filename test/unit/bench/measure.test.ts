import { expect, it } from 'vitest'
import { latency, measure, median, quantile, rate } from '../../../bench/measure.ts'

it('takes quantiles by nearest rank', () => {
  const ascending = Array.from({ length: 100 }, (_, i) => i + 1)
  expect([0, 0.5, 0.95, 0.99, 1].map((q) => quantile(ascending, q))).toEqual([1, 50, 95, 99, 100])
  expect(quantile([7], 0.99)).toBe(7)
  expect(() => quantile([], 0.5)).toThrow(RangeError)
  expect(median([9, 1, 5])).toBe(5)
})

it('states a latency by its percentiles and a rate by its runs', () => {
  expect(latency('a', 'us', [30, 10, 20.12345])).toEqual({
    name: 'a',
    unit: 'us',
    value: 20.12,
    samples: 3,
    p50: 20.12,
    p95: 30,
    p99: 30,
    max: 30,
  })
  expect(rate('b', '1/s', [3, 1, 2], 60)).toEqual({
    name: 'b',
    unit: '1/s',
    value: 2,
    samples: 60,
    runs: [3, 1, 2],
  })
})

it('measures every operation in each block, and awaits promises', async () => {
  const order: string[] = []
  let running = false
  const { plain, promised } = await measure(
    {
      plain: () => order.push('plain'),
      async promised() {
        order.push('promised')
        running = true
        await Promise.resolve()
        running = false
      },
    },
    { blocks: 3, blockMs: 0 },
  )
  expect(running).toBe(false)
  // One block of each to warm up, which does not count.
  expect(order).toEqual(Array(4).fill(['plain', 'promised']).flat())
  expect([plain.micros.length, promised.micros.length, plain.rates.length]).toEqual([3, 3, 3])
})
