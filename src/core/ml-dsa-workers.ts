import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { type MlDsa, nobleMlDsa } from './ml-dsa.ts'

/** What `MlDsa.verify` is called with. */
export type VerifyJob = Parameters<MlDsa['verify']>

/** Marks the threads that this file starts. */
const ROLE = 'ml-dsa'

interface Seat {
  readonly worker: Worker
  readonly waiting: { job: VerifyJob; resolve: (valid: boolean) => void }[]
}
const seats: Seat[] = []

/**
 * Verifies in one of as many threads as the machine has cores, for runtimes whose own crypto has no ML-DSA. The threads are started
 * when first needed and keep no process alive that waits for none of them. What a thread held when it died is verified here: an
 * answer that nobody computed must never become a verdict.
 */
export function verifyInWorker(job: VerifyJob): Promise<boolean> {
  while (seats.length < availableParallelism()) seats.push(open())
  const seat = seats.reduce((least, one) => (one.waiting.length < least.waiting.length ? one : least))
  return new Promise((resolve) => {
    seat.waiting.push({ job, resolve })
    seat.worker.ref()
    seat.worker.postMessage(job)
  })
}

function open(): Seat {
  const worker = new Worker(new URL(import.meta.url), { workerData: ROLE })
  const seat: Seat = { worker, waiting: [] }
  worker.on('message', (valid: boolean) => {
    seat.waiting.shift()?.resolve(valid)
    if (seat.waiting.length === 0) worker.unref()
  })
  // An error is followed by the exit.
  worker.on('error', () => {})
  worker.on('exit', () => {
    const at = seats.indexOf(seat)
    if (at >= 0) seats.splice(at, 1)
    for (const { job, resolve } of seat.waiting.splice(0)) resolve(nobleMlDsa.verify(...job))
  })
  worker.unref()
  return seat
}

if (!isMainThread && workerData === ROLE)
  parentPort?.on('message', (job: VerifyJob) => parentPort?.postMessage(nobleMlDsa.verify(...job)))
