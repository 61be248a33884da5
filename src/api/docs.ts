import type { OpenAPIHono } from '@hono/zod-openapi'
import packageFile from '../../package.json' with { type: 'json' }
import { sha256, toBase64, utf8 } from '../core/bytes.ts'
import type { ServiceContext } from '../service/context.ts'
import type { ApiEnv } from './request.ts'

type Document = ReturnType<OpenAPIHono<ApiEnv>['getOpenAPI31Document']>

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
code{font:13px/1.5 ui-monospace,monospace}table{border-collapse:collapse;width:100%}td{padding:.3rem .6rem .3rem 0;vertical-align:top}
td:first-child{white-space:nowrap}h2{margin-top:2rem}`

/** By its SPDX identifier (OpenAPI 3.1). */
const LICENSE = { name: packageFile.license, identifier: packageFile.license }

/** The groups of operations, in the order in which they are shown. */
const TAGS: readonly (readonly [name: string, description: string])[] = [
  ['Submissions', 'What contributors have submitted, and what became of it'],
  ['Changes', 'Every change of state, as it happens'],
  ['Readings', 'What sensors measured'],
  ['Queries', 'SQL over datasets, with proofs for rows'],
  ['Proofs', 'Bundles that anybody can verify offline'],
  ['Contributors', 'Accounts that run sensors'],
  ['Sensors', 'Registered sensors'],
  ['Datasets', 'Registered datasets and their schemas'],
  ['Graph', 'What belongs to what'],
  ['Payloads', 'The content-addressed store of payloads'],
  ['Log', 'The append-only log and its anchors'],
  ['Operation', 'How the server is doing'],
]

const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

/** `/`, `/openapi.json` and `/docs`. Add them after all other routes, as they list those. */
export function docsRoutes(app: OpenAPIHono<ApiEnv>, { deployment }: ServiceContext): void {
  let document: Document | null = null
  const describe = (): Document => {
    document ??= app.getOpenAPI31Document({
      openapi: '3.1.0',
      info: {
        title: 'Dunes',
        version: packageFile.version,
        description: packageFile.description,
        license: LICENSE,
      },
      servers: [{ url: '/' }],
      tags: TAGS.map(([name, description]) => ({ name, description })),
      // Everything is open to whoever can reach the server. Schemes with keys go under components and are named here.
      security: [],
    })
    return document
  }
  app.get('/', (c) =>
    c.json({
      name: 'dunes',
      version: packageFile.version,
      chain: deployment.chain,
      origin: deployment.origin,
      links: {
        docs: '/docs',
        openapi: '/openapi.json',
        status: '/v1/status',
        submissions: '/v1/submissions',
        contributors: '/v1/contributors',
        sensors: '/v1/sensors',
        datasets: '/v1/datasets',
        anchors: '/v1/anchors',
        changes: '/v1/changes',
        checkpoint: '/checkpoint',
        vkeys: '/vkeys',
        trust_policy: '/trust-policy.json',
        verify: '/verify',
        mcp: '/mcp',
        llms: '/llms.txt',
      },
    }),
  )
  app.get('/openapi.json', (c) => c.json(describe()))
  app.get('/docs', (c) =>
    c.html(page(describe()), 200, {
      'Content-Security-Policy': `default-src 'none'; frame-ancestors 'none'; base-uri 'none'; style-src 'sha256-${toBase64(sha256(utf8(STYLE)))}'`,
    }),
  )
}

interface Operation {
  summary?: string
  tags?: string[]
  parameters?: { name: string; in: string; description?: string }[]
}

/** One table for each tag, one row for each operation. */
function page(document: Document): string {
  const sections = new Map<string, string[]>()
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(item as Record<string, Operation>)) {
      const tag = operation.tags?.[0] ?? 'Other'
      const query = (operation.parameters ?? []).filter((p) => p.in === 'query').map((p) => p.name)
      const rows = sections.get(tag) ?? []
      rows.push(
        `<tr><td><code>${escapeHtml(`${method.toUpperCase()} ${path}`)}</code></td><td>${escapeHtml(operation.summary ?? '')}` +
          `${query.length > 0 ? `<br>Query: <code>${query.map(escapeHtml).join(' ')}</code>` : ''}</td></tr>`,
      )
      sections.set(tag, rows)
    }
  }
  const body = [...sections]
    .map(([tag, rows]) => `<h2>${escapeHtml(tag)}</h2><table>${rows.join('')}</table>`)
    .join('')
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Dunes API</title><style>${STYLE}</style></head><body><h1>Dunes ${escapeHtml(packageFile.version)}</h1><p>${escapeHtml(packageFile.description)} The whole description, with every field: <a href="/openapi.json">/openapi.json</a>.</p>${body}</body></html>`
}
