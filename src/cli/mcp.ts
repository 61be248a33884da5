import { compose } from '../compose.ts'
import { createLogger } from '../core/logger.ts'
import { createMetrics } from '../core/metrics.ts'
import { serveMcpStreams } from '../mcp/stdio.ts'
import type { Action } from './command.ts'

/** `dunes mcp`: serves MCP on standard input and output until the client closes it. Everything else goes to standard error. */
export const mcp: Action = async ({ config, env, clock, signal }) => {
  const running = await compose(
    { config, env, clock, logger: createLogger(config.logLevel), metrics: createMetrics() },
    { index: false, serve: false },
  )
  try {
    await serveMcpStreams(running.service, process.stdin, process.stdout, signal)
  } finally {
    await running.stop()
  }
  return undefined
}
