import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { evmChainId } from '../chain/ids.ts'
import { createRpc } from '../chain/rpc.ts'
import type { Answer, Client } from '../client/client.ts'
import { type Hex, isHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { decodeAnyBundle } from '../proof/bundle.ts'
import { CLAIM_NAMES, explainClaim } from '../proof/explain.ts'
import { decodeHeader } from '../proof/header.ts'
import { parseTrustPolicy } from '../proof/trust-policy.ts'
import {
  type ClaimName,
  type ClaimResult,
  DEFAULT_REQUIRED,
  type Facts,
  objections,
  verifyBundle,
} from '../proof/verify.ts'
import { TRUST_POLICY_FILE } from '../trust-policy-file.ts'
import { apiOf, poll } from './client.ts'
import type { Action, Invocation, Options } from './command.ts'
import { readInput, writeOutput } from './files.ts'
import { renderStatus, Screen } from './screen.ts'
import { printable } from './text.ts'

/** How often `--wait` and `--watch` look, in milliseconds. */
const LOOK_MS = 1_000

const requireId = (id: string | undefined): Hex => {
  if (isHex(id, 32)) return id
  throw new DunesError('ID_INVALID', `${printable(id ?? '')} is not a submission's id`, {
    hint: 'give 0x and 64 lower-case hex digits',
  })
}

/** What a command line asks for: one submission, several, a contributor's history, or the newest that can be proved. */
function askedFor(ids: readonly string[], options: Options): (api: Client) => Promise<Answer> {
  const { contributor, from, to, latest } = options
  const minimal = options['minimal'] === true
  const event = options['event'] === true
  if (event && (typeof contributor === 'string' || ids.length > 1))
    throw usage('--event is about one submission')
  if (typeof contributor === 'string') {
    if (ids.length > 0 || latest) throw usage('give either ids, --latest or --contributor')
    return (api) =>
      api.send('proveContributor', {
        id: contributor,
        ...(typeof from === 'string' && { from }),
        ...(typeof to === 'string' && { to }),
      })
  }
  if (from !== undefined || to !== undefined) throw usage('--from and --to need --contributor')
  const parts = [...(minimal ? [] : ['all']), ...(event ? ['event'] : [])]
  const prove = (api: Client, id: string) =>
    api.send('getSubmissionProof', { id, ...(parts.length > 0 && { include: parts.join(',') }) })
  if (latest) {
    if (ids.length > 0) throw usage('give either ids, --latest or --contributor')
    return async (api) => prove(api, await latestAnchored(api))
  }
  const [id, ...more] = ids.map(requireId)
  if (id === undefined) throw usage('give the id of a submission, --latest, or --contributor')
  if (more.length === 0) return (api) => prove(api, id)
  return (api) =>
    api.send('proveMany', { body: { ids: [id, ...more], ...(minimal ? {} : { include: 'all' }) } })
}

/** The newest accepted submission that can be proved. Throws `NOT_ANCHORED` where there is none yet. */
async function latestAnchored(api: Client): Promise<string> {
  const { items } = await api.call('listSubmissions', { state: 'anchored', verdict: 'accepted', limit: 1 })
  if (items[0]) return items[0].id
  throw new DunesError('NOT_ANCHORED', 'no accepted submission is anchored yet', {
    hint: 'try again in a while, or wait for it with --wait',
    retryable: true,
    details: { status: 409 },
  })
}

const usage = (message: string): DunesError =>
  new DunesError('USAGE', message, { hint: '`dunes prove --help` shows how' })

export const prove: Action = async (call, args, options) => {
  const ask = askedFor(args, options)
  const api = apiOf(call.config)
  const look = async () => {
    try {
      return await ask(api)
    } catch (error) {
      const early = error instanceof DunesError && [404, 409, 503].includes(Number(error.details['status']))
      if (options['wait'] === true && early) return null
      throw error
    }
  }
  const answer = await poll(look, LOOK_MS, call.signal)
  if (!answer) return 3
  const file = typeof options['output'] === 'string' ? options['output'] : undefined
  await writeOutput(call, file, answer.body)
  const whole = options['contributor'] === undefined ? '' : ' --require complete'
  if (file)
    call.note(
      `Wrote ${file} (${answer.body.length} bytes). Next: \`dunes verify ${file} --rpc URL${whole}\`.\n`,
    )
  return undefined
}

/** The trust policy: the file that was named, or the one of the deployment recorded in this folder. */
export async function readPolicy(
  call: Invocation,
  options: Options,
): Promise<{ bytes: Uint8Array; from: string }> {
  if (typeof options['policy'] === 'string')
    return { bytes: await readInput(call, options['policy']), from: options['policy'] }
  const file = join(call.config.dataDir, TRUST_POLICY_FILE)
  if (existsSync(file)) return { bytes: await readInput(call, file), from: file }
  throw new DunesError(
    'POLICY_MISSING',
    'no trust policy: what a verifier trusts is never taken from a bundle',
    {
      hint: 'pass --policy FILE, or run this where the deployment was started',
    },
  )
}

/** The block hash that is trusted: given, or asked of an RPC for the height that the bundle speaks of. */
async function trustedHash(
  call: Invocation,
  options: Options,
  bundle: Uint8Array,
  chainId: number,
): Promise<{ hash: Hex; from: string }> {
  const given = options['blockHash']
  if (typeof given === 'string') {
    if (isHex(given, 32)) return { hash: given, from: 'given as --block-hash' }
    throw new DunesError('BLOCK_HASH_INVALID', '--block-hash is not a hash', {
      hint: 'give 0x and 64 lower-case hex digits',
    })
  }
  if (typeof options['rpc'] !== 'string') {
    throw new DunesError('BLOCK_HASH_MISSING', 'no block hash to trust', {
      hint: 'pass --block-hash HASH, or --rpc URL of a node that you trust',
    })
  }
  if (!URL.canParse(options['rpc'])) {
    throw new DunesError('RPC_INVALID', '--rpc is not a URL', {
      hint: 'give something like http://127.0.0.1:8545',
    })
  }
  const { number } = decodeHeader(headerOf(bundle))
  const rpc = createRpc({ urls: [options['rpc']], chainId })
  const block = (await rpc.call('eth_getBlockByNumber', [`0x${number.toString(16)}`, false], {
    signal: call.signal,
  })) as {
    hash?: unknown
  } | null
  if (!isHex(block?.hash, 32)) {
    throw new DunesError('BLOCK_UNKNOWN', `the node at ${rpc.endpoint()} has no block ${number}`, {
      hint: 'the bundle may be of another chain, or newer than what the node has',
      exitCode: 1,
    })
  }
  return {
    hash: block.hash,
    from: `as ${rpc.endpoint()} says it: this trusts that node for the hash of block ${number}`,
  }
}

export const verify: Action = async (call, [file = ''], options) => {
  const bundle = await readInput(call, file)
  const { bytes, from } = await readPolicy(call, options)
  const policy = parseTrustPolicy(bytes)
  const trusted = await trustedHash(call, options, bundle, evmChainId(policy.chain))
  const required = [...DEFAULT_REQUIRED, ...listOf(options['require']).map(requireClaim)]
  const { claims, facts } = verifyBundle({ bundle, policy, trustedBlockHash: trusted.hash, mlDsa })
  const against = objections(claims, required)
  const ok = against.length === 0
  call.result(
    { ok, claims, trusted_block_hash: trusted.hash, trusted_from: trusted.from, policy: from, facts },
    () =>
      [
        ...claims.map((claim) => claimLine(claim, options['explain'] === true)),
        '',
        ...subject(facts.entry),
        `policy      ${from}`,
        `block hash  ${trusted.hash}`,
        `            ${trusted.from}`,
        '',
        ok
          ? 'YES: nothing failed, and everything that must be proved is.'
          : `NO: ${against.map(({ name, status }) => `${name} ${status}`).join(', ')}.`,
        '',
      ].join('\n'),
  )
  return ok ? 0 : 1
}

const MARK = { proved: 'proved     ', failed: 'FAILED     ', 'not claimed': 'not claimed' } as const

const claimLine = (claim: ClaimResult, explained: boolean): string =>
  `${MARK[claim.status]}  ${claim.name.padEnd(18)}${printable(explained ? explainClaim(claim) : claim.reason)}`

function requireClaim(name: string): ClaimName {
  const known = CLAIM_NAMES.find((claim) => claim === name)
  if (known) return known
  throw new DunesError('CLAIM_UNKNOWN', `there is no claim ${printable(name)}`, {
    hint: `claims are ${CLAIM_NAMES.join(', ')}`,
  })
}

const listOf = (value: unknown): string[] =>
  typeof value === 'string'
    ? value
        .split(',')
        .map((part) => part.trim())
        .filter(Boolean)
    : []

const SIGN = { ok: 'ok     ', failed: 'FAILED ', pending: 'pending', skipped: 'skipped' } as const

export const explain: Action = async (call, [given]) => {
  const id = requireId(given)
  const lineage = await apiOf(call.config).call('getSubmissionLineage', { id })
  call.result(lineage, ({ submission, stages, obstacle, status }) => {
    const lines = [
      `${submission.id}  ${submission.state}${submission.verdict ? `, ${submission.verdict}` : ''}`,
      `sensor ${printable(submission.sensor)} of ${printable(submission.contributor)}`,
      '',
      ...stages.map(
        (stage) => `${SIGN[stage.status]}  ${stage.name.padEnd(10)} ${printable(stage.sentence)}`,
      ),
      '',
    ]
    if (obstacle) {
      lines.push(
        `${obstacle.status === 'failed' ? 'Stopped' : 'Waiting'} at ${obstacle.stage}${obstacle.reason ? ` (${obstacle.reason})` : ''}: ${printable(obstacle.sentence)}`,
        `Whose side: ${printable(obstacle.fault)}`,
        `What to do: ${printable(obstacle.todo)}`,
        '',
      )
    } else if (status === 'complete') lines.push('Every stage is done.', '')
    return lines.join('\n')
  })
  return undefined
}

export const status: Action = async (call, _args, options) => {
  const api = apiOf(call.config)
  if (options['watch'] !== true) {
    call.result(await api.call('getStatus', {}), renderStatus)
    return undefined
  }
  const screen = new Screen(call.out, () => call.size?.('out') ?? null)
  while (!call.signal.aborted) {
    const now = await api.call('getStatus', {})
    if (call.json) call.out(`${JSON.stringify(now)}\n`)
    else screen.draw(renderStatus(now))
    await call.clock.sleep(LOOK_MS, call.signal)
  }
  return undefined
}

/** What a bundle is about and what the indexer says of it: a proof that stands says nothing of whether the reading was accepted. */
const subject = (entry: Facts['entry']): string[] =>
  entry
    ? [
        `about       submission ${entry.submission}`,
        `            sensor ${printable(entry.sensor)}, dataset ${printable(entry.dataset)}, of ${printable(entry.contributor)}`,
        `verdict     ${entry.verdict}${entry.reason ? `: ${entry.reason}` : ''}${entry.observed ? " (the indexer's word)" : ''}`,
      ]
    : []

/** The header bytes of a bundle, in whatever state the rest is in. */
const headerOf = (bundle: Uint8Array): Uint8Array => decodeAnyBundle(bundle).evidence.header
