import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const SRC = fileURLToPath(new URL('../../src', import.meta.url))

/** Folders by rank: a file may import from its own folder and from folders of a lower rank. */
const RANKS: readonly (readonly string[])[] = [
  ['core'],
  ['chain', 'payload', 'maml', 'receipt', 'log', 'fsck'],
  ['anchor', 'graph', 'mirror', 'proof', 'rewards', 'query'],
  ['ingest', 'service', 'explorer'],
  ['mcp'],
  ['api'],
  ['client'],
  ['cli'],
]
/**
 * Imports within a rank that are meant: a receipt is about a payload, an anchor is of the stored log and holds endpoints to proofs, and the auditor reads payloads.
 * It shares nothing else with what it audits.
 */
const SIDEWAYS = new Set(['receipt -> maml', 'anchor -> graph', 'anchor -> proof', 'fsck -> maml'])
/** Files at the top compose the others, so anything but the command line is theirs to import. */
const TOP = RANKS.length - 1

/** Folders that must run in a browser, so that a stranger can check a proof without us. */
const PURE = ['maml', 'receipt', 'log', 'proof']
/** Single files outside them of which the same is asked. */
const PURE_FILES = [
  'chain/record.ts',
  'chain/slots.ts',
  'core/bytes.ts',
  'core/error.ts',
  'core/json.ts',
  'core/ml-dsa.ts',
  'core/reason.ts',
]
const PURE_PACKAGES = /^(@noble\/(hashes|curves|post-quantum)\/|canonicalize$)/

interface Import {
  from: string
  to: string
}

/** Every import and re-export of a file; type-only ones are left out where `types` is false. */
function importsOf(file: string, types: boolean): string[] {
  const text = readFileSync(join(SRC, file), 'utf8')
  const found = text.matchAll(
    /^\s*(?:import|export)\b(\s+type\b)?[^'"`;]*?\bfrom\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm,
  )
  const sideEffects = [...text.matchAll(/^\s*import\s+['"]([^'"]+)['"]/gm)].map((match) => match[1] as string)
  return [...found]
    .filter((match) => types || !match[1])
    .map((match) => (match[2] ?? match[3]) as string)
    .concat(sideEffects)
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
const local: Import[] = files.flatMap((file) =>
  importsOf(file, true)
    .filter((to) => to.startsWith('.'))
    .map((to) => ({ from: file, to: relative(SRC, normalize(join(SRC, dirname(file), to))) })),
)
const folder = (file: string): string => (file.includes('/') ? (file.split('/')[0] as string) : '')
const rank = (file: string): number => {
  const name = folder(file)
  if (name === '') return TOP - 0.5
  const found = RANKS.findIndex((names) => names.includes(name))
  if (found < 0) throw new Error(`src/${name} has no rank: add it to this test`)
  return found
}

describe('import direction', () => {
  it('reads imports at all', () => {
    expect(files.length).toBeGreaterThan(50)
    expect(local.length).toBeGreaterThan(200)
  })

  it('never points upwards or sideways', () => {
    const wrong = local
      .filter(({ to }) => !to.startsWith('..'))
      .filter(({ from, to }) => folder(from) !== folder(to) && rank(to) >= rank(from))
      .filter(({ from, to }) => !SIDEWAYS.has(`${folder(from)} -> ${folder(to)}`))
      .map(({ from, to }) => `${from} -> ${to}`)
    expect(wrong).toEqual([])
  })

  it('leaves src only for package.json, the compiled contracts and, from the command line, the devnet', () => {
    const outside = local
      .filter(({ to }) => to.startsWith('..'))
      .filter(({ from, to }) => !(from === 'chain/deploy.ts' && to.startsWith('../contracts/artifacts/')))
      .filter(({ to }) => to !== '../package.json')
      .filter(({ from, to }) => !(folder(from) === 'cli' && to.startsWith('../anvil/')))
      .map(({ from, to }) => `${from} -> ${to}`)
    expect(outside).toEqual([])
  })

  it('has no file that only passes on what others export', () => {
    const barrels = files.filter((file) => {
      const lines = readFileSync(join(SRC, file), 'utf8')
        .split('\n')
        .filter((line) => line.trim() && !/^\s*(\/\/|\/?\*)/.test(line))
      return lines.length > 1 && lines.every((line) => /^export\b.*\bfrom\b/.test(line))
    })
    expect(barrels).toEqual([])
  })
})

describe('purity', () => {
  const start = files.filter((file) => PURE.includes(folder(file)) || PURE_FILES.includes(file))
  // Everything that they load in turn must be as pure as they are.
  const reached = new Set(start)
  for (const file of reached) {
    for (const to of importsOf(file, false)) {
      if (to.startsWith('.')) reached.add(relative(SRC, normalize(join(SRC, dirname(file), to))))
    }
  }

  it('keeps what proves and what is proved free of I/O', () => {
    const impure = [...reached].flatMap((file) =>
      importsOf(file, false)
        .filter((to) => !to.startsWith('.') && !PURE_PACKAGES.test(to))
        .map((to) => `${file} -> ${to}`),
    )
    expect(impure).toEqual([])
  })

  it('uses no global of Node, no clock and no randomness there', () => {
    const uses = [...reached].filter((file) => {
      const code = readFileSync(join(SRC, file), 'utf8').replace(
        /\/\*[\s\S]*?\*\/|\/\/.*$|'(?:[^'\\\n]|\\.)*'/gm,
        '',
      )
      return /\b(Buffer|process|globalThis|require|fetch|setTimeout|Date\.now|new Date\(\)|Math\.random)\b/.test(
        code,
      )
    })
    // It looks up Node's hash and signatures, which compute and do nothing else; a browser has none.
    expect(uses).toEqual(['core/runtime.ts'])
  })
})
