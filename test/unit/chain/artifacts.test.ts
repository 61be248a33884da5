import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { abiText, artifactText, CONTRACTS, compileContracts } from '../../../contracts/compile.ts'

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

it('the committed ABIs and bytecode are what the sources compile to', { timeout: 300_000 }, () => {
  const artifacts = compileContracts()
  for (const name of CONTRACTS)
    expect(artifactText(artifacts[name])).toBe(read(`contracts/artifacts/${name}.json`))
  expect(abiText(artifacts)).toBe(read('src/chain/abi.ts'))
  // EIP-170: no chain takes more.
  for (const name of CONTRACTS) expect(artifacts[name].deployedBytecode.length / 2).toBeLessThan(24_576)
})

it('docs/contracts.md names every event, call and view of our own', () => {
  const docs = read('docs/contracts.md')
  for (const contract of CONTRACTS) {
    const source = read(`contracts/${contract}.sol`)
    const events = [...source.matchAll(/^ {4}event (\w+)/gm)]
    const functions = [...source.matchAll(/^ {4}function (\w+)\([^{]*?\bexternal\b/gm)]
    expect(events.length).toBeGreaterThan(5)
    expect(functions.length).toBeGreaterThan(10)
    for (const [, name] of [...events, ...functions]) expect(docs).toMatch(new RegExp(`\\b${name}\\b`))
  }
})

it('imports of record.ts and slots.ts are pure', () => {
  for (const file of ['src/chain/record.ts', 'src/chain/slots.ts']) {
    const imports = [...read(file).matchAll(/^import (?!type).* from '([^']+)'/gm)].map((match) => match[1])
    expect(imports).toEqual(['@noble/hashes/sha3.js', '../core/bytes.ts'])
  }
})
