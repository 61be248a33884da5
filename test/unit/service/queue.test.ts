import { expect, test } from 'vitest'
import { BoundedQueue, CallerQueues } from '../../../src/service/queue.ts'

/** A job that ends when told to. */
const job = () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  let started = false
  return {
    run: async () => {
      started = true
      await promise
      return 'done'
    },
    end: resolve,
    started: () => started,
  }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('runs so many at once, lets so many wait, and refuses the rest for now', async () => {
  const queue = new BoundedQueue(2, 1)
  const jobs = [job(), job(), job()] as const
  const running = jobs.map((j) => queue.run(j.run))
  await turn()
  expect(jobs.map((j) => j.started())).toEqual([true, true, false])
  await expect(queue.run(async () => 1)).rejects.toMatchObject({
    code: 'BUSY',
    retryable: true,
    retryAfter: 1,
  })
  jobs[1].end()
  await turn()
  expect(jobs[2].started()).toBe(true)
  jobs[0].end()
  jobs[2].end()
  expect(await Promise.all(running)).toEqual(['done', 'done', 'done'])
})

test('a job that fails makes room like any other', async () => {
  const queue = new BoundedQueue(1, 0)
  const failing = queue.run(() => {
    throw new Error('broken')
  })
  await expect(failing).rejects.toThrow('broken')
  expect(await queue.run(() => 7)).toBe(7)
})

test('nobody overtakes those who wait', async () => {
  const queue = new BoundedQueue(1, 5)
  const first = job()
  const order: number[] = []
  const all = [queue.run(first.run), ...[1, 2, 3].map((n) => queue.run(() => void order.push(n)))]
  first.end()
  all.push(queue.run(() => void order.push(4)))
  await Promise.all(all)
  expect(order).toEqual([1, 2, 3, 4])
})

test('each caller has a queue of its own, with bounds of its own', async () => {
  const queues = new CallerQueues(1, 0)
  const [first, second] = [job(), job()]
  const running = [queues.run('one', first.run), queues.run('two', second.run)]
  await turn()
  expect([first.started(), second.started()]).toEqual([true, true])
  await expect(queues.run('one', async () => 1)).rejects.toMatchObject({ code: 'BUSY' })
  first.end()
  expect(await running[0]).toBe('done')
  // Neither the job that ended nor the refused one holds a place.
  expect(await queues.run('one', async () => 2)).toBe(2)
  second.end()
  expect(await running[1]).toBe('done')
})
