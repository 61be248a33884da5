import { randomUUID } from 'node:crypto'
import {
  createMcpHandler,
  isLegacyRequest,
  type McpServer,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import type { McpEndpoint } from '../../src/mcp/http.ts'
import { fixtureFactory } from './fixtures.ts'

/**
 * The fixtures as an endpoint to put into the API. A scenario of the 2025 era in which the server asks the client something needs a
 * session, which Dunes has no use for and does not keep: here is one, in front of the same handler.
 */
export function fixtureEndpoint(): McpEndpoint {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()
  const factory = fixtureFactory({
    toolsChanged: () => modern.notify.toolsChanged(),
    promptsChanged: () => modern.notify.promptsChanged(),
  })
  const modern = createMcpHandler(factory, { legacy: 'reject' })
  const legacy = async (request: Request): Promise<Response> => {
    const id = request.headers.get('mcp-session-id')
    const known = id === null ? undefined : sessions.get(id)
    if (known) return known.handleRequest(request)
    if (id !== null) return Response.json({ error: 'no such session' }, { status: 404 })
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (made) => void sessions.set(made, transport),
      onsessionclosed: (closed) => void sessions.delete(closed),
    })
    const server = (await factory({ era: 'legacy', requestInfo: request })) as McpServer
    await server.connect(transport)
    return transport.handleRequest(request)
  }
  return {
    fetch: async (request) => ((await isLegacyRequest(request)) ? legacy(request) : modern.fetch(request)),
    close: async () => {
      await modern.close()
      await Promise.all([...sessions.values()].map((transport) => transport.close()))
    },
  }
}
