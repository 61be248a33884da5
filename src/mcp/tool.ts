import type { CallToolResult, ServerContext } from '@modelcontextprotocol/server'
import type { z } from 'zod'
import type { ServiceContext } from '../service/context.ts'
import type { CallerQueues } from '../service/queue.ts'
import { type Hoisted, hoist } from './schema.ts'

/** What a tool's work is given besides its arguments. */
export interface ToolCall {
  ctx: ServiceContext
  server: ServerContext
  /** Who asks: an address, later an account. */
  caller: string
  /** Where queries wait. */
  queues: CallerQueues
}

/** A tool, made once: its schemas are shared by all requests. */
export interface Tool {
  name: string
  config: {
    title: string
    description: string
    inputSchema: Hoisted<z.ZodType>
    outputSchema: Hoisted<z.ZodType>
    annotations: {
      title: string
      readOnlyHint: boolean
      destructiveHint: boolean
      idempotentHint: boolean
      openWorldHint: boolean
    }
  }
  run(args: unknown, call: ToolCall): Promise<CallToolResult>
}

export interface ToolDefinition<I extends z.ZodObject, O extends z.ZodObject> {
  name: string
  title: string
  description: string
  /** Refuses what it does not know: a strict object. */
  input: I
  output: O
  run(args: z.output<I>, call: ToolCall): Promise<CallToolResult>
}

/** Every tool of Dunes only reads, changes nothing, and answers from this server's own index. */
export function tool<I extends z.ZodObject, O extends z.ZodObject>(definition: ToolDefinition<I, O>): Tool {
  const { name, title, description, input, output, run } = definition
  const names = Object.keys(input.shape)
  const hint = names.length === 0 ? 'this tool takes no arguments' : `this tool takes ${names.join(', ')}`
  return {
    name,
    config: {
      title,
      description,
      inputSchema: hoist(input, hint),
      outputSchema: hoist(output),
      annotations: {
        title,
        readOnlyHint: true,
        destructiveHint: false,
        idempotentHint: true,
        openWorldHint: false,
      },
    },
    // The SDK has checked the arguments against the schema.
    run: (args, call) => run(args as z.output<I>, call),
  }
}
