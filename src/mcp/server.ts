import { type CompleteResult, McpServer, type McpServerFactory } from '@modelcontextprotocol/server'
import packageFile from '../../package.json' with { type: 'json' }
import type { ServiceContext } from '../service/context.ts'
import { CallerQueues } from '../service/queue.ts'
import type { Completer } from './complete.ts'
import { INSTRUCTIONS } from './guide.ts'
import { PROMPTS, promptResult } from './prompts.ts'
import { FIXED, readResource, type TemplateResource, templates } from './resources.ts'
import { refusal } from './result.ts'
import type { Tool } from './tool.ts'
import { describeDatasetTool } from './tools/describe-dataset.ts'
import { getInclusionProofTool } from './tools/get-inclusion-proof.ts'
import { getReadingsTool } from './tools/get-readings.ts'
import { listDatasetsTool } from './tools/list-datasets.ts'
import { querySensorDataTool } from './tools/query-sensor-data.ts'
import { verifyRecordTool } from './tools/verify-record.ts'

/** Every tool, in the order in which a newcomer would use them. */
export const TOOLS: readonly Tool[] = [
  listDatasetsTool,
  describeDatasetTool,
  getReadingsTool,
  querySensorDataTool,
  getInclusionProofTool,
  verifyRecordTool,
]

const INFO = {
  name: 'dunes',
  title: 'Dunes',
  version: packageFile.version,
  description: packageFile.description,
}
/** What never changes while a process runs may be kept for an hour, by anybody: this server tells all callers the same. */
const STEADY = { ttlMs: 3_600_000, cacheScope: 'public' } as const
const CACHE_HINTS = {
  'tools/list': STEADY,
  'prompts/list': STEADY,
  'resources/templates/list': STEADY,
  'server/discover': STEADY,
  'resources/list': { ttlMs: 10_000, cacheScope: 'public' },
} as const
/** Elements of the arguments of one call; the largest honest ones have a dozen. */
const MAX_INPUT_ELEMENTS = 1_000
/**
 * Queries of one caller that are under way or in the database's own line at once, and how many more may wait here, in order, instead of
 * being refused: an AI client that asks many things at once has nobody who would try again for it.
 */
export const CALLER_AT_ONCE = 8
export const CALLER_WAITING = 2_000

/**
 * The factory that serves every request and every revision of the protocol (docs/mcp.md): a fresh server each time, as the SDK asks,
 * over definitions that are made once.
 */
export function createMcpFactory(ctx: ServiceContext): McpServerFactory {
  const own = templates(ctx)
  const queues = new CallerQueues(CALLER_AT_ONCE, CALLER_WAITING)
  return ({ authInfo }) => {
    const caller = authInfo?.clientId ?? 'local'
    const server = new McpServer(INFO, {
      instructions: INSTRUCTIONS,
      capabilities: {
        // Lists change only with the program, and of datasets nobody is told: clients ask again.
        tools: { listChanged: false },
        prompts: { listChanged: false },
        resources: { listChanged: false, subscribe: false },
        completions: {},
      },
      cacheHints: CACHE_HINTS,
      maxToolInputElements: MAX_INPUT_ELEMENTS,
    })
    for (const { name, config, run } of TOOLS) {
      server.registerTool(name, config, async (args, call) => {
        try {
          return await run(args, { ctx, server: call, caller, queues })
        } catch (error) {
          return refusal(error, ctx.logger)
        }
      })
    }
    for (const { name, uri, title, description, mimeType, ttlMs, read } of FIXED) {
      const cacheHint = { ttlMs, cacheScope: 'public' } as const
      server.registerResource(name, uri, { title, description, mimeType, cacheHint }, () =>
        readResource(uri, mimeType, () => read(ctx)),
      )
    }
    for (const { name, template, title, description, mimeType, ttlMs, variable, read } of own) {
      const cacheHint = { ttlMs, cacheScope: 'public' } as const
      server.registerResource(name, template, { title, description, mimeType, cacheHint }, (uri, variables) =>
        readResource(uri.href, mimeType, () => read(String(variables[variable] ?? ''), ctx)),
      )
    }
    for (const prompt of PROMPTS) {
      const { name, title, description, argsSchema } = prompt
      server.registerPrompt(name, { title, description, argsSchema }, (args) =>
        promptResult(prompt, args as Record<string, string>),
      )
    }
    server.server.setRequestHandler('completion/complete', async ({ params }) => {
      const complete = completerOf(params.ref, params.argument.name, own)
      // A client may ask about a prompt or template that it has from elsewhere: there is nothing to offer for it.
      return offered(complete ? await complete(params.argument.value, ctx) : [])
    })
    return server
  }
}

type Reference = { type: 'ref/prompt'; name: string } | { type: 'ref/resource'; uri: string }

function completerOf(
  ref: Reference,
  argument: string,
  own: readonly TemplateResource[],
): Completer | undefined {
  if (ref.type === 'ref/prompt') {
    const prompt = PROMPTS.find(({ name }) => name === ref.name)
    return prompt && Object.hasOwn(prompt.complete, argument) ? prompt.complete[argument] : undefined
  }
  const template = own.find(({ template: t }) => t.uriTemplate.toString() === ref.uri)
  return template?.variable === argument ? template.complete : undefined
}

const offered = (values: string[]): CompleteResult => ({
  completion: { values, total: values.length, hasMore: false },
})
