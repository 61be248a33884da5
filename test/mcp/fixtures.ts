import {
  acceptedContent,
  CLIENT_CAPABILITIES_META_KEY,
  createRequestStateCodec,
  type InputRequests,
  inputRequired,
  inputResponse,
  McpServer,
  type McpServerFactory,
  ResourceTemplate,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { z } from 'zod'

/**
 * The tools, resources and prompts that the conformance suite asks of a server under test, as its scenarios describe them. They
 * exercise what Dunes itself has no use for, such as asking the client something in return.
 */

/** A PNG of one pixel and a WAV without samples. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA='

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] })
const none = z.object({})
/** What is shown between two messages of a tool that takes its time. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 50))

const nameForm = {
  type: 'object' as const,
  properties: { name: { type: 'string' as const } },
  required: ['name'],
}
const colorForm = {
  type: 'object' as const,
  properties: { color: { type: 'string' as const } },
  required: ['color'],
}
const okForm = { type: 'object' as const, properties: { ok: { type: 'boolean' as const } }, required: ['ok'] }
const askName = () => inputRequired.elicit({ message: 'What is your name?', requestedSchema: nameForm })
const sample = (prompt: string, maxTokens: number) =>
  inputRequired.createMessage({
    messages: [{ role: 'user', content: { type: 'text', text: prompt } }],
    maxTokens,
  })

const codec = createRequestStateCodec<{ step: number }>({ key: new Uint8Array(32).fill(7) })

/** Told when a fixture pretends that a list has changed. */
export interface Announce {
  toolsChanged(): void
  promptsChanged(): void
}

export function fixtureFactory(announce: Announce): McpServerFactory {
  return ({ era }) => {
    const server = new McpServer(
      { name: 'fixtures', version: '1.0.0' },
      {
        capabilities: {
          tools: { listChanged: true },
          prompts: { listChanged: true },
          // Subscriptions to single resources are of the 2025 era; later ones are served by the listen stream.
          resources: { listChanged: true, ...(era === 'legacy' && { subscribe: true }) },
          logging: {},
          completions: {},
        },
        requestState: { verify: codec.verify },
      },
    )
    addTools(server, announce)
    addInputTools(server)
    addResources(server)
    addPrompts(server)
    server.server.setRequestHandler('completion/complete', ({ params }) => ({
      completion: { values: ['paris', 'park', 'party'].filter((v) => v.startsWith(params.argument.value)) },
    }))
    if (era === 'legacy') {
      server.server.setRequestHandler('resources/subscribe', () => ({}))
      server.server.setRequestHandler('resources/unsubscribe', () => ({}))
    }
    return server
  }
}

function addTools(server: McpServer, announce: Announce): void {
  const add = (name: string, run: (ctx: ServerContext) => unknown) =>
    server.registerTool(name, { description: `conformance: ${name}`, inputSchema: none }, (_, ctx) =>
      Promise.resolve(run(ctx) as ReturnType<typeof text>),
    )
  const image = { type: 'image', data: PNG, mimeType: 'image/png' }
  add('test_simple_text', () => text('This is a simple text response for testing.'))
  add('test_image_content', () => ({ content: [image] }))
  add('test_audio_content', () => ({ content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }] }))
  add('test_embedded_resource', () => ({
    content: [
      {
        type: 'resource',
        resource: {
          uri: 'test://embedded-resource',
          mimeType: 'text/plain',
          text: 'This is an embedded resource content.',
        },
      },
    ],
  }))
  add('test_multiple_content_types', () => ({
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      image,
      {
        type: 'resource',
        resource: {
          uri: 'test://mixed-content-resource',
          mimeType: 'application/json',
          text: '{"test":"data","value":123}',
        },
      },
    ],
  }))
  add('test_error_handling', () => {
    throw new Error('This tool intentionally returns an error for testing')
  })
  add('test_tool_with_logging', async ({ mcpReq }) => {
    await mcpReq.log('info', 'Tool execution started')
    await pause()
    await mcpReq.log('info', 'Tool processing data')
    await pause()
    await mcpReq.log('info', 'Tool execution completed')
    return text('Logged three messages.')
  })
  add('test_logging_tool', async ({ mcpReq }) => {
    await mcpReq.log('info', 'Only for those who asked for logs')
    return text('Logged one message to those who want it.')
  })
  add('test_tool_with_progress', async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined) {
        await mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken, progress, total: 100 },
        })
      }
      await pause()
    }
    return text('Done.')
  })
  add('test_trigger_tool_change', () => {
    announce.toolsChanged()
    return text('Said that the tools have changed.')
  })
  add('test_trigger_prompt_change', () => {
    announce.promptsChanged()
    return text('Said that the prompts have changed.')
  })
  server.registerTool(
    'test_sampling',
    { description: 'conformance: test_sampling', inputSchema: z.object({ prompt: z.string() }) },
    async ({ prompt }, { mcpReq }) => {
      const result = await mcpReq.requestSampling({
        messages: [{ role: 'user', content: { type: 'text', text: prompt } }],
        maxTokens: 100,
      })
      const { content } = result
      return text(
        `LLM response: ${!Array.isArray(content) && content.type === 'text' ? content.text : JSON.stringify(content)}`,
      )
    },
  )
  const described = (description: string) => ({ type: 'string' as const, description })
  server.registerTool(
    'test_elicitation',
    { description: 'conformance: test_elicitation', inputSchema: z.object({ message: z.string() }) },
    async ({ message }, { mcpReq }) => {
      const { action, content } = await mcpReq.elicitInput({
        message,
        requestedSchema: {
          type: 'object',
          properties: { username: described("User's response"), email: described("User's email address") },
          required: ['username', 'email'],
        },
      })
      return text(`User response: action: ${action}, content: ${JSON.stringify(content ?? {})}`)
    },
  )
  const completed = ({ action, content }: { action: string; content?: unknown }) =>
    text(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`)
  add('test_elicitation_sep1034_defaults', async ({ mcpReq }) =>
    completed(
      await mcpReq.elicitInput({
        message: 'Please review',
        requestedSchema: {
          type: 'object',
          properties: {
            name: { type: 'string', default: 'John Doe' },
            age: { type: 'integer', default: 30 },
            score: { type: 'number', default: 95.5 },
            status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
            verified: { type: 'boolean', default: true },
          },
        },
      }),
    ),
  )
  const titled = (noun: string) =>
    ['First', 'Second', 'Third'].map((word, i) => ({ const: `value${i + 1}`, title: `${word} ${noun}` }))
  const options = ['option1', 'option2', 'option3']
  add('test_elicitation_sep1330_enums', async ({ mcpReq }) =>
    completed(
      await mcpReq.elicitInput({
        message: 'Please choose',
        requestedSchema: {
          type: 'object',
          properties: {
            untitledSingle: { type: 'string', enum: options },
            titledSingle: { type: 'string', oneOf: titled('Option') },
            legacyEnum: {
              type: 'string',
              enum: ['opt1', 'opt2', 'opt3'],
              enumNames: ['Option One', 'Option Two', 'Option Three'],
            },
            untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
            titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
          },
        },
      }),
    ),
  )
}

/** Tools of the 2026 era that ask the client for something before they answer. */
function addInputTools(server: McpServer): void {
  const add = (name: string, run: (ctx: ServerContext) => unknown) =>
    server.registerTool(name, { description: `conformance: ${name}`, inputSchema: none }, (_, ctx) =>
      Promise.resolve(run(ctx) as ReturnType<typeof text>),
    )
  const roots = (ctx: ServerContext, key: string) => {
    const view = inputResponse(ctx.mcpReq.inputResponses, key)
    return view.kind === 'roots' ? view.roots.map(({ uri }) => uri) : null
  }
  const sampled = (ctx: ServerContext, key: string) => {
    const view = inputResponse(ctx.mcpReq.inputResponses, key)
    return view.kind === 'sampling' ? JSON.stringify(view.result.content) : null
  }
  const Name = z.object({ name: z.string() })
  const nameIn = (ctx: ServerContext, key: string) =>
    acceptedContent(ctx.mcpReq.inputResponses, key, Name)?.name

  add('test_input_required_result_elicitation', (ctx) => {
    const name = nameIn(ctx, 'user_name')
    return name === undefined
      ? inputRequired({ inputRequests: { user_name: askName() } })
      : text(`Hello, ${name}!`)
  })
  add('test_streaming_elicitation', (ctx) => {
    const name = nameIn(ctx, 'user_name')
    return name === undefined
      ? inputRequired({ inputRequests: { user_name: askName() } })
      : text(`Hello, ${name}!`)
  })
  add('test_input_required_result_sampling', (ctx) => {
    const answered = sampled(ctx, 'capital_question')
    return answered === null
      ? inputRequired({ inputRequests: { capital_question: sample('What is the capital of France?', 100) } })
      : text(answered)
  })
  add('test_missing_capability', (ctx) => {
    const answered = sampled(ctx, 'question')
    return answered === null
      ? inputRequired({ inputRequests: { question: sample('Anything?', 10) } })
      : text(answered)
  })
  add('test_input_required_result_list_roots', (ctx) => {
    const found = roots(ctx, 'client_roots')
    return found === null
      ? inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } })
      : text(`Roots: ${found.join(', ')}`)
  })
  const confirm = () => inputRequired.elicit({ message: 'Please confirm', requestedSchema: okForm })
  for (const name of [
    'test_input_required_result_request_state',
    'test_input_required_result_tampered_state',
  ]) {
    add(name, async (ctx) => {
      // What comes here has passed the codec: a changed state is refused before.
      const state = ctx.mcpReq.requestState<{ step: number }>()
      if (state?.step === 1) return text('state-ok')
      return inputRequired({
        inputRequests: { confirm: confirm() },
        requestState: await codec.mint({ step: 1 }),
      })
    })
  }
  add('test_input_required_result_multiple_inputs', async (ctx) => {
    const name = nameIn(ctx, 'user_name')
    const greeting = sampled(ctx, 'greeting')
    const found = roots(ctx, 'client_roots')
    if (name !== undefined && greeting !== null && found !== null)
      return text(`${name}, ${greeting}, ${found.join(', ')}`)
    return inputRequired({
      inputRequests: {
        user_name: askName(),
        greeting: sample('Generate a greeting', 50),
        client_roots: inputRequired.listRoots(),
      },
      requestState: await codec.mint({ step: 1 }),
    })
  })
  add('test_input_required_result_multi_round', async (ctx) => {
    const step = ctx.mcpReq.requestState<{ step: number }>()?.step
    if (step === 2) {
      const color = acceptedContent(
        ctx.mcpReq.inputResponses,
        'step2',
        z.object({ color: z.string() }),
      )?.color
      if (color !== undefined) return text(`Your color is ${color}.`)
    }
    if (step === 1 && nameIn(ctx, 'step1') !== undefined) {
      return inputRequired({
        inputRequests: {
          step2: inputRequired.elicit({
            message: 'Step 2: What is your favorite color?',
            requestedSchema: colorForm,
          }),
        },
        requestState: await codec.mint({ step: 2 }),
      })
    }
    return inputRequired({
      inputRequests: {
        step1: inputRequired.elicit({ message: 'Step 1: What is your name?', requestedSchema: nameForm }),
      },
      requestState: await codec.mint({ step: 1 }),
    })
  })
  add('test_input_required_result_capabilities', (ctx) => {
    const envelope: Readonly<Record<string, unknown>> = { ...ctx.mcpReq.envelope }
    const declared = (envelope[CLIENT_CAPABILITIES_META_KEY] ?? {}) as object
    const inputRequests: InputRequests = {
      ...('sampling' in declared && { question: sample('Anything?', 10) }),
      ...('elicitation' in declared && { user_name: askName() }),
    }
    return Object.keys(inputRequests).length === 0
      ? text('This client can be asked nothing.')
      : inputRequired({ inputRequests })
  })
}

function addResources(server: McpServer): void {
  server.registerResource('static-text', 'test://static-text', { mimeType: 'text/plain' }, ({ href }) => ({
    contents: [
      { uri: href, mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
    ],
  }))
  server.registerResource('static-binary', 'test://static-binary', { mimeType: 'image/png' }, ({ href }) => ({
    contents: [{ uri: href, mimeType: 'image/png', blob: PNG }],
  }))
  server.registerResource('watched', 'test://watched-resource', { mimeType: 'text/plain' }, ({ href }) => ({
    contents: [{ uri: href, mimeType: 'text/plain', text: 'Watched.' }],
  }))
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { mimeType: 'application/json' },
    ({ href }, { id }) => ({
      contents: [
        {
          uri: href,
          mimeType: 'application/json',
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
        },
      ],
    }),
  )
}

function addPrompts(server: McpServer): void {
  const say = (content: object) => ({
    role: 'user' as const,
    content: content as { type: 'text'; text: string },
  })
  const words = (value: string) => say({ type: 'text', text: value })
  server.registerPrompt('test_simple_prompt', { description: 'conformance: test_simple_prompt' }, () => ({
    messages: [words('This is a simple prompt for testing.')],
  }))
  server.registerPrompt(
    'test_prompt_with_arguments',
    {
      description: 'conformance: two arguments',
      argsSchema: z.object({ arg1: z.string(), arg2: z.string() }),
    },
    ({ arg1, arg2 }) => ({ messages: [words(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)] }),
  )
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'conformance: a resource', argsSchema: z.object({ resourceUri: z.string() }) },
    ({ resourceUri }) => ({
      messages: [
        say({
          type: 'resource',
          resource: {
            uri: resourceUri,
            mimeType: 'text/plain',
            text: 'Embedded resource content for testing.',
          },
        }),
        words('Please process the embedded resource above.'),
      ],
    }),
  )
  server.registerPrompt(
    'test_prompt_with_image',
    { description: 'conformance: test_prompt_with_image' },
    () => ({
      messages: [
        say({ type: 'image', data: PNG, mimeType: 'image/png' }),
        words('Please analyze the image above.'),
      ],
    }),
  )
  server.registerPrompt(
    'test_input_required_result_prompt',
    { description: 'conformance: test_input_required_result_prompt' },
    (ctx) => {
      const context = acceptedContent(
        ctx.mcpReq.inputResponses,
        'user_context',
        z.object({ context: z.string() }),
      )?.context
      if (context !== undefined) return { messages: [words(`Use this context: ${context}`)] }
      return inputRequired({
        inputRequests: {
          user_context: inputRequired.elicit({
            message: 'What context should the prompt use?',
            requestedSchema: {
              type: 'object',
              properties: { context: { type: 'string' } },
              required: ['context'],
            },
          }),
        },
      })
    },
  )
}
