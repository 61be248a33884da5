import type { Readable, Writable } from 'node:stream'
import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio'
import type { ServiceContext } from '../service/context.ts'
import { createMcpFactory } from './server.ts'

/**
 * Serves MCP over a pair of streams, one message a line, in the revision that the client opens with. `output` gets nothing but the
 * protocol. Resolves once the client has closed its end, or `signal` aborts.
 */
export async function serveMcpStreams(
  ctx: ServiceContext,
  input: Readable,
  output: Writable,
  signal: AbortSignal,
): Promise<void> {
  const handle = serveStdio(createMcpFactory(ctx), {
    transport: new StdioServerTransport(input, output),
    onerror: (error) => ctx.logger.warn({ error: error.message }, 'refused or failed an MCP message'),
  })
  await new Promise<void>((resolve) => {
    for (const event of ['end', 'close', 'error']) input.once(event, () => resolve())
    // A client that is gone no longer reads what it asked for.
    output.once('error', () => resolve())
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
  await handle.close()
}
