import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

/** The repository's root: names of modules in the output are relative to it, so that they are the same everywhere. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const OUTPUT = new URL('verify.html', import.meta.url)
const DIGEST = new URL('verify.html.sha256', import.meta.url)

const read = (name: string): string => readFileSync(new URL(`verify/${name}`, import.meta.url), 'utf8')
const source = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** The page's policy: its own script and style and nothing else; requests to any node, as only the user knows which. */
const contentPolicy = (script: string, style: string): string =>
  [
    "default-src 'none'",
    `script-src ${source(script)}`,
    `style-src ${source(style)}`,
    'connect-src http: https:',
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ')

/** The verifier as one HTML file that needs nothing else, a pure function of the sources and the locked dependencies. */
export async function buildVerifyPage(): Promise<string> {
  const bundle = await rolldown({
    cwd: ROOT,
    input: fileURLToPath(new URL('verify/page.ts', import.meta.url)),
    platform: 'browser',
  })
  const { output } = await bundle.generate({ format: 'iife', minify: false, comments: false })
  await bundle.close()
  if (output.length !== 1) throw new Error(`the page became ${output.length} files`)
  // Readable, so that it can be compared with the sources. The one sequence that would end the script early is spelled otherwise.
  const code = output[0].code
    .replace(/<(?=\/script|!--)/gi, '\\x3c')
    // Wherever the packages are installed, or linked to: their modules are named alike.
    .replace(/^\/\/ (?:\.\.\/)+\S*?node_modules\//gm, '// node_modules/')
  const script = `\n${code}`
  const style = `\n${read('page.css')}`
  const parts: Record<string, string> = { CSP: contentPolicy(script, style), STYLE: style, SCRIPT: script }
  const page = read('page.html').replace(/\{\{([A-Z]+)\}\}/g, (_, name: string) => {
    const part = parts[name]
    if (part === undefined) throw new Error(`page.html asks for ${name}`)
    delete parts[name]
    return part
  })
  if (Object.keys(parts).length > 0) throw new Error(`page.html has no place for ${Object.keys(parts)}`)
  return page
}

/** The line that `sha256sum --check` takes. */
export const digestLine = (page: string): string =>
  `${createHash('sha256').update(page).digest('hex')}  verify.html\n`

if (import.meta.main) {
  const page = await buildVerifyPage()
  writeFileSync(OUTPUT, page)
  writeFileSync(DIGEST, digestLine(page))
  process.stdout.write(`${page.length} bytes, SHA-256 ${digestLine(page)}`)
}
