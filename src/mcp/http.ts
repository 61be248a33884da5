import { createMcpHandler, type McpServerFactory } from '@modelcontextprotocol/server'
import type { Logger } from '../core/logger.ts'
import type { ServiceContext } from '../service/context.ts'
import { createMcpFactory } from './server.ts'

/** Bytes of one request, at most: room for a bundle to verify. */
export const MAX_REQUEST_BYTES = 2 * 1024 * 1024
/** Streams of notifications that may be open at once. */
const MAX_SUBSCRIPTIONS = 256

/** MCP over streamable HTTP as the API serves it: requests in, answers out, nothing kept between them. */
export interface McpEndpoint {
  /** `caller` is who asks, as far as the server knows: an address. */
  fetch(request: Request, caller?: string): Promise<Response>
  /** Ends what is under way. */
  close(): Promise<void>
}

/** The endpoint of this server. */
export const createMcpEndpoint = (ctx: ServiceContext): McpEndpoint =>
  endpointOf(createMcpFactory(ctx), ctx.logger)

/** An endpoint that serves what `factory` makes, in every revision of the protocol. */
export function endpointOf(factory: McpServerFactory, logger: Logger): McpEndpoint {
  const { fetch, close } = createMcpHandler(factory, {
    maxRequestBodySize: MAX_REQUEST_BYTES,
    maxSubscriptions: MAX_SUBSCRIPTIONS,
    // Refusals of malformed requests among them, which are the client's affair.
    onerror: (error) => logger.debug({ error: error.message }, 'refused or failed an MCP request'),
  })
  return {
    fetch: (request, caller) =>
      // The SDK hands this on to the factory in every revision. There are no tokens yet; who has one will be named here.
      fetch(request, caller === undefined ? {} : { authInfo: { token: '', clientId: caller, scopes: [] } }),
    close,
  }
}
