import type { PinnedRpc } from '../chain/rpc.ts'
import { isUntrue } from '../chain/source.ts'

/** An endpoint and what it answered. */
export interface Answer<T> {
  readonly rpc: PinnedRpc
  readonly value: T
}

/**
 * Asks several endpoints the same at once; gives the answers of those that answered, in their order. One whose answer cannot be
 * true is blamed. Throws what the first to fail threw where none answers.
 */
export async function askEach<T>(
  rpcs: readonly PinnedRpc[],
  ask: (rpc: PinnedRpc) => Promise<T>,
): Promise<Answer<T>[]> {
  const failures: unknown[] = []
  const answers = await Promise.all(
    rpcs.map(async (rpc) => {
      try {
        return { rpc, value: await ask(rpc) }
      } catch (error) {
        if (isUntrue(error)) rpc.blame(error)
        failures.push(error)
        return null
      }
    }),
  )
  const found = answers.filter((answer) => answer !== null)
  if (found.length === 0) throw failures[0]
  return found
}
