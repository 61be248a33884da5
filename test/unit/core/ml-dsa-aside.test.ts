import { expect, test } from 'vitest'
import { utf8 } from '../../../src/core/bytes.ts'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { mlDsa, nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { type VerifyJob, verifyInWorker } from '../../../src/core/ml-dsa-workers.ts'

const seed = new Uint8Array(32).fill(4)
const key = nobleMlDsa.publicKey(65, seed)
const message = utf8('a message')
const context = utf8('dunes.test/v1')
const signature = nobleMlDsa.sign(65, seed, message, context)
const other = signature.map((byte, i) => (i === 40 ? byte ^ 1 : byte))

/** Jobs with what verifying must say of them: each differs from the first in one thing. */
const JOBS: readonly (readonly [boolean, VerifyJob])[] = [
  [true, [65, key, message, signature, context]],
  [false, [65, key, message, other, context]],
  [false, [65, key, utf8('another'), signature, context]],
  [false, [65, key, message, signature, utf8('dunes.test/v2')]],
  [false, [65, nobleMlDsa.publicKey(65, new Uint8Array(32).fill(5)), message, signature, context]],
  [false, [65, key.slice(1), message, signature, context]],
  [false, [65, key, message, signature.slice(1), context]],
  [false, [65, key, message, signature, new Uint8Array(256)]],
  [true, [65, key, message, signature, context]],
]

test.each([
  ['worker threads', verifyInWorker],
  ['what this runtime has', (job: VerifyJob) => mlDsa.verifyAside!(...job)],
] as const)('%s answer in the order of the questions what verify answers', async (_name, verify) => {
  expect(await Promise.all(JOBS.map(([, job]) => verify(job)))).toEqual(JOBS.map(([valid]) => valid))
})

test('the native one runs beside the caller', async () => {
  expect(mlDsa.name).toBe('native')
  const order: string[] = []
  const answers = [1, 2, 3].map(async () => {
    await nativeMlDsa.verifyAside!(65, key, message, signature, context)
    order.push('verified')
  })
  order.push('asked')
  await Promise.all(answers)
  expect(order).toEqual(['asked', 'verified', 'verified', 'verified'])
})
