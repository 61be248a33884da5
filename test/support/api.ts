import { type ApiSettings, createApi } from '../../src/api/app.ts'
import { type Listening, type ListenOptions, listen } from '../../src/api/listen.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createMetrics } from '../../src/core/metrics.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { createServiceContext, type ServiceContext, type ServiceSettings } from '../../src/service/context.ts'

/** The receipt key of tests. */
export const RECEIPT_SEED = new Uint8Array(32).fill(77)
export const RECEIPT_KEY = { seed: RECEIPT_SEED, publicKey: mlDsa.publicKey(65, RECEIPT_SEED) }

export interface TestApi extends Listening {
  ctx: ServiceContext
  /** Asks the API; `path` begins with a slash. */
  get(path: string, headers?: Record<string, string>): Promise<Response>
  /** The JSON of an answer that must be 200. */
  json<T>(path: string): Promise<T>
}

/** The API over real HTTP on a free port. */
export async function startApi(
  settings: Pick<ServiceSettings, 'sql' | 'deployment'> & Partial<ServiceSettings>,
  options: ListenOptions & ApiSettings = {},
): Promise<TestApi> {
  const ctx = createServiceContext({
    logger: silentLogger,
    metrics: createMetrics(),
    clock: systemClock,
    mlDsa,
    receiptKey: RECEIPT_KEY,
    ...settings,
  })
  const listening = await listen(createApi(ctx, options), { port: 0, ...options })
  const get = (path: string, headers: Record<string, string> = {}) => fetch(listening.url + path, { headers })
  return {
    ...listening,
    ctx,
    get,
    async json(path) {
      const response = await get(path)
      if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`)
      return (await response.json()) as never
    },
  }
}
