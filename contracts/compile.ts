import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

/** The contracts that are deployed; what they import is found from there. */
export const CONTRACTS = ['SensorRegistry', 'ReceiptAnchor'] as const

export type ContractName = (typeof CONTRACTS)[number]

/** What `contracts/artifacts/<name>.json` holds. */
export interface Artifact {
  contractName: ContractName
  compiler: string
  abi: readonly Readonly<Record<string, unknown>>[]
  bytecode: string
  deployedBytecode: string
  /** Byte ranges of `deployedBytecode` that the constructor fills, by the variable's name. */
  immutableReferences: Readonly<Record<string, readonly { start: number; length: number }[]>>
  /** The slots that the published layout names; see docs/contracts.md. */
  storageLayout: readonly { label: string; slot: string; offset: number; type: string }[]
}

/** Settings that fix the bytecode. No metadata hash, so that a comment changes no code and no code hash. */
const SETTINGS = {
  viaIR: true,
  optimizer: { enabled: true, runs: 10_000 },
  evmVersion: 'cancun',
  metadata: { bytecodeHash: 'none' },
  outputSelection: {
    '*': {
      '*': [
        'abi',
        'evm.bytecode.object',
        'evm.deployedBytecode.object',
        'evm.deployedBytecode.immutableReferences',
        'storageLayout',
      ],
      '': ['ast'],
    },
  },
}

interface SolcOutput {
  errors?: { formattedMessage: string; severity: string; sourceLocation?: { file: string } }[]
  sources: Record<string, { ast: unknown }>
  contracts: Record<
    string,
    Record<
      string,
      {
        abi: Record<string, unknown>[]
        evm: {
          bytecode: { object: string }
          deployedBytecode: {
            object: string
            immutableReferences: Record<string, { start: number; length: number }[]>
          }
        }
        storageLayout: { storage: { label: string; slot: string; offset: number; type: string }[] }
      }
    >
  >
}

interface Solc {
  version(): string
  compile(
    input: string,
    callbacks: { import: (path: string) => { contents: string } | { error: string } },
  ): string
}

const require = createRequire(import.meta.url)

const readImport = (path: string): { contents: string } | { error: string } => {
  try {
    const file = path.startsWith('@') ? require.resolve(path) : fileURLToPath(new URL(path, import.meta.url))
    return { contents: readFileSync(file, 'utf8') }
  } catch {
    return { error: `no file for the import ${path}` }
  }
}

/** Names of immutable variables by their AST id, which is how the compiler reports their places. */
function immutableNames(node: unknown, names = new Map<string, string>()): Map<string, string> {
  if (Array.isArray(node)) {
    for (const item of node) immutableNames(item, names)
  } else if (typeof node === 'object' && node !== null) {
    const { nodeType, mutability, id, name } = node as Record<string, unknown>
    if (nodeType === 'VariableDeclaration' && mutability === 'immutable') names.set(String(id), String(name))
    for (const value of Object.values(node)) immutableNames(value, names)
  }
  return names
}

/**
 * Compiles the contracts with the installed solc and the settings above.
 * Throws an `Error` with the compiler's own messages on any error or warning.
 */
export function compileContracts(): Record<ContractName, Artifact> {
  const solc = require('solc') as Solc
  const sources = Object.fromEntries(
    CONTRACTS.map((name) => [
      `${name}.sol`,
      { content: readFileSync(new URL(`${name}.sol`, import.meta.url), 'utf8') },
    ]),
  )
  const input = JSON.stringify({ language: 'Solidity', sources, settings: SETTINGS })
  const output = JSON.parse(solc.compile(input, { import: readImport })) as SolcOutput
  // Warnings about imported packages are not ours to mend; any about our own files is an error.
  const problems = (output.errors ?? []).filter(
    ({ severity, sourceLocation }) => severity === 'error' || !sourceLocation?.file.startsWith('@'),
  )
  if (problems.length > 0) throw new Error(problems.map((problem) => problem.formattedMessage).join('\n'))
  const names = immutableNames(output.sources)
  const artifact = (contractName: ContractName): Artifact => {
    const contract = output.contracts[`${contractName}.sol`]?.[contractName]
    if (!contract) throw new Error(`the compiler gave no ${contractName}`)
    const { bytecode, deployedBytecode } = contract.evm
    return {
      contractName,
      compiler: solc.version(),
      abi: contract.abi,
      bytecode: `0x${bytecode.object}`,
      deployedBytecode: `0x${deployedBytecode.object}`,
      immutableReferences: Object.fromEntries(
        Object.entries(deployedBytecode.immutableReferences)
          .map(([id, places]) => [names.get(id) ?? id, places] as const)
          .sort(([a], [b]) => (a < b ? -1 : 1)),
      ),
      // The compiler's type names carry AST ids, which shift with any edit and say nothing.
      storageLayout: contract.storageLayout.storage.map(({ label, slot, offset, type }) => ({
        label,
        slot,
        offset,
        type: type.replaceAll(/\)\d+/g, ')'),
      })),
    }
  }
  return { SensorRegistry: artifact('SensorRegistry'), ReceiptAnchor: artifact('ReceiptAnchor') }
}

/** Text of an artifact's file. */
export const artifactText = (artifact: Artifact): string => `${JSON.stringify(artifact, null, 2)}\n`

/** Text of `src/chain/abi.ts`. */
export function abiText(artifacts: Record<ContractName, Artifact>): string {
  const constant = (name: string, artifact: Artifact) =>
    `export const ${name} = [\n${artifact.abi.map((item) => `  ${JSON.stringify(item)},\n`).join('')}] as const\n`
  return [
    '// biome-ignore-all format: one line an item\n',
    '// biome-ignore-all lint: generated\n',
    '// Generated by `npm run contracts`; a test compiles again and compares.\n\n',
    '/** ABI of contracts/SensorRegistry.sol. */\n',
    constant('sensorRegistryAbi', artifacts.SensorRegistry),
    '\n/** ABI of contracts/ReceiptAnchor.sol. */\n',
    constant('receiptAnchorAbi', artifacts.ReceiptAnchor),
  ].join('')
}

if (import.meta.main) {
  const artifacts = compileContracts()
  for (const name of CONTRACTS) {
    writeFileSync(new URL(`artifacts/${name}.json`, import.meta.url), artifactText(artifacts[name]))
    const bytes = (artifacts[name].deployedBytecode.length - 2) / 2
    process.stderr.write(`${name}: ${bytes} bytes of code\n`)
  }
  writeFileSync(new URL('../src/chain/abi.ts', import.meta.url), abiText(artifacts))
}
