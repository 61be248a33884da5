import { extname } from 'node:path'
import { formatEther, formatGwei } from 'viem'
import { accountId, evmChain } from '../chain/ids.ts'
import { decodeUtf8, fromHex, type Hex, isHex, sha256, toHex, utf8 } from '../core/bytes.ts'
import { DunesError, describeError } from '../core/error.ts'
import { type Json, type JsonObject, parseJson } from '../core/json.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { buildMaml } from '../maml/build.ts'
import { MAML_LIMITS } from '../maml/limits.ts'
import { parseMaml } from '../maml/parse.ts'
import { parseSchemaFile } from '../maml/schema.ts'
import { signMaml } from '../maml/sign.ts'
import { judgeUri } from '../payload/uri.ts'
import { type PreparedCall, payloadClaim, type SentCall } from '../service/registry-client.ts'
import { apiOf, apiUrlOf, poll } from './client.ts'
import type { Action, Invocation, Options } from './command.ts'
import { readInput } from './files.ts'
import { createIdentity, openRegistry, signingSeed } from './identity.ts'
import { table } from './text.ts'

/** How often `--wait` looks at a submission's state, in milliseconds. */
const WAIT_MS = 500

export const keygen: Action = async (call, [folder]) => {
  call.result(createIdentity(call, folder), ({ account, contributor, keyId, files }) =>
    [
      `account      ${account}`,
      `contributor  ${contributor}`,
      `key id       ${keyId}`,
      `files        ${files.account}, ${files.signing}`,
      '',
    ].join('\n'),
  )
  call.note('Keep both files secret and backed up. Next: `dunes register`.\n')
  return undefined
}

/** Prints what a call would do, or does it and prints what happened. */
async function carryOut(
  call: Invocation,
  options: Options,
  prepared: PreparedCall,
  describe: (sent: SentCall) => Record<string, unknown>,
): Promise<SentCall | null> {
  if (options['dryRun'] === true) {
    const { functionName, from, to, data, gas, maxFeePerGas, cost } = prepared
    call.result(
      {
        dry_run: true,
        function: functionName,
        from,
        to,
        data,
        gas: Number(gas),
        max_fee_per_gas: `${maxFeePerGas}`,
        cost: `${cost}`,
      },
      (tx) =>
        [
          `would call   ${tx.function}`,
          `from         ${tx.from}`,
          `to           ${tx.to}`,
          `data         ${tx.data.length > 200 ? `${tx.data.slice(0, 200)}... (${(tx.data.length - 2) / 2} bytes)` : tx.data}`,
          `gas          ${tx.gas} at no more than ${formatGwei(maxFeePerGas)} gwei`,
          `costs        at most ${formatEther(cost)} ETH`,
          '',
        ].join('\n'),
    )
    return null
  }
  const sent = await prepared.send()
  call.result(
    { ...describe(sent), tx: sent.tx, block: sent.block, gas_used: Number(sent.gasUsed) },
    (value) => table(Object.entries(value)),
  )
  return sent
}

export const register: Action = async (call, _args, options) => {
  const registry = await openRegistry(call, options)
  if (await registry.currentKey()) {
    throw new DunesError('KEY_REGISTERED', `${registry.account} has a registered key already`, {
      hint: 'use `dunes rotate` to change it',
    })
  }
  await registerKey(call, options)
  return undefined
}

export const rotate: Action = async (call, _args, options) => {
  const registry = await openRegistry(call, options)
  const current = await registry.currentKey()
  if (!current) {
    throw new DunesError('KEY_NOT_REGISTERED', `${registry.account} has no registered key`, {
      hint: 'use `dunes register`',
    })
  }
  if (current.keyId === toHex(sha256(mlDsa.publicKey(65, signingSeed(call, options))))) {
    throw new DunesError('KEY_UNCHANGED', 'this signing key is the registered one', {
      hint: 'make a new one with `dunes keygen FOLDER` and pass it as --signing-key',
    })
  }
  await registerKey(call, options)
  return undefined
}

async function registerKey(call: Invocation, options: Options): Promise<void> {
  const registry = await openRegistry(call, options)
  const prepared = await registry.registerKey(signingSeed(call, options), mlDsa)
  const sent = await carryOut(call, options, prepared, ({ events }) => {
    const event = events.find((e) => e.type === 'keyRegistered')
    return {
      contributor: accountId(evmChain(registry.chainId), registry.account),
      key_index: event?.keyIndex,
      key_id: event?.keyId,
    }
  })
  if (sent) call.note('Next: `dunes sensor add NAME --dataset helium_sensors`.\n')
}

export const addSensor: Action = async (call, [name = ''], options) => {
  const registry = await openRegistry(call, options)
  const h3 = parseCell(String(options['h3'] ?? '0'))
  const prepared = await registry.registerSensor(name, String(options['dataset']), h3)
  const sent = await carryOut(call, options, prepared, () => ({
    sensor: name,
    dataset: options['dataset'],
    h3: `0x${h3.toString(16)}`,
  }))
  if (sent) call.note(`Next: \`dunes submit reading.json --sensor ${name}\`.\n`)
  return undefined
}

/** An H3 cell index as it is usually written (hex), or 0 where the place is not told. */
function parseCell(text: string): bigint {
  const hex = text.replace(/^0x/, '')
  if (/^[0-9a-f]{1,16}$/.test(hex)) return BigInt(`0x${hex}`)
  throw new DunesError('H3_INVALID', `${text} is not an H3 cell index`, {
    hint: 'write it in hex, such as 8928308280fffff',
  })
}

export const addDataset: Action = async (call, [file = ''], options) => {
  const bytes = await readInput(call, file)
  const schema = parseSchemaFile(bytes)
  const registry = await openRegistry(call, options)
  const prepared = await registry.setDataset(schema.dataset, bytes, options['update'] === true)
  await carryOut(call, options, prepared, ({ events }) => {
    const event = events.find((e) => e.type === 'datasetUpdated')
    return {
      dataset: schema.dataset,
      schema: schema.name,
      version: event?.version,
      schema_sha256: event?.schemaSha256,
    }
  })
  return undefined
}

/** What stands in the place of a schema file once a dataset takes no more readings; any bytes that are none do the same. */
const RETIRED = utf8('This dataset is retired: it takes no further readings.\n')

/** Ends a dataset for good or for now: what is submitted later is rejected as SCHEMA_UNKNOWN, what is there stays. */
export const retireDataset: Action = async (call, [name = ''], options) => {
  const registry = await openRegistry(call, options)
  const prepared = await registry.setDataset(name, RETIRED, true)
  await carryOut(call, options, prepared, ({ events }) => ({
    dataset: name,
    version: events.find((e) => e.type === 'datasetUpdated')?.version,
    retired: true,
  }))
  return undefined
}

export const submit: Action = async (call, [file = ''], options) => {
  const registry = await openRegistry(call, options)
  const input = await readInput(call, file)
  const { payload, sensor, left } = await toPayload(call, options, file, input, registry.account)
  const sha256Hex = toHex(sha256(payload))
  const given = typeof options['uri'] === 'string' ? options['uri'] : null
  const uri = given ?? `${apiUrlOf(call.config)}/v1/payloads/${sha256Hex}`
  const refused = judgeUri(uri)
  if (refused)
    throw new DunesError('URI_REFUSED', `the URI would be refused: ${refused}`, {
      hint: 'use a plain http(s), file or ipfs URI',
    })
  const prepared = await registry.submit(payloadClaim(sensor, payload, uri))
  // Said only now: where the chain does not know the sensor either, its refusal says it all.
  if (left) call.note(left)
  // The bytes go first: a submission whose payload nobody has can only be rejected.
  if (!given && options['dryRun'] !== true) {
    await apiOf(call.config).call(
      'putPayload',
      { sha256: sha256Hex, body: payload },
      { headers: { 'X-Dunes-Contributor': accountId(evmChain(registry.chainId), registry.account) } },
    )
  }
  let id: Hex | undefined
  const sent = await carryOut(call, options, prepared, ({ events }) => {
    id = events.find((e) => e.type === 'submitted')?.id
    return { id, sensor, payload_sha256: sha256Hex, uri }
  })
  if (!sent || !id) return undefined
  if (options['wait'] !== true) {
    call.note(
      `Next: \`dunes explain ${id}\`, and once it is anchored \`dunes prove ${id} -o bundle.json\`.\n`,
    )
    return undefined
  }
  return waitFor(call, id)
}

/** Waits until a submission is anchored; 1 when it is rejected. */
async function waitFor(call: Invocation, id: Hex): Promise<number> {
  let shown = ''
  const end = await poll(
    async () => {
      const item = await apiOf(call.config)
        .call('getSubmission', { id })
        .catch((error) => {
          // The indexer may be a moment behind the block that we were told of.
          if (error instanceof DunesError && error.details['status'] === 404) return null
          throw error
        })
      const line = item
        ? `${item.state}${item.verdict ? `, ${item.verdict}` : ''}${item.reason ? ` (${item.reason})` : ''}`
        : 'not indexed yet'
      if (line !== shown) call.note(`${line}\n`)
      shown = line
      return item?.state === 'anchored' ? item : null
    },
    WAIT_MS,
    call.signal,
  )
  if (end?.verdict === 'accepted') call.note(`Next: \`dunes prove ${id} -o bundle.json\`.\n`)
  else if (end) call.note(`Next: \`dunes explain ${id}\` says why, and what to do.\n`)
  return end?.verdict === 'accepted' ? 0 : 1
}

/** The signed payload of a file: JSON readings are wrapped and signed, MAML is signed unless it is. */
async function toPayload(
  call: Invocation,
  options: Options,
  file: string,
  input: Uint8Array,
  account: Hex,
): Promise<{ payload: Uint8Array; sensor: string; left: string | null }> {
  const wanted = typeof options['sensor'] === 'string' ? options['sensor'] : null
  const isMaml = /\.(md|maml|ml)$/i.test(extname(file))
  if (isMaml) {
    const maml = parseMaml(input)
    const sensor = wanted ?? maml.frontMatter.sensor ?? String(maml.readings[0]?.['sensor_id'])
    return {
      payload: maml.signature.kind === 'missing' ? signMaml(input, signingSeed(call, options), mlDsa) : input,
      sensor,
      left: null,
    }
  }
  const readings = readReadings(input)
  const sensor = wanted ?? String(readings[0]?.['sensor_id'] ?? '')
  if (!sensor) throw new DunesError('SENSOR_MISSING', 'no sensor is named', { hint: 'pass --sensor NAME' })
  // What the contributor leaves out is filled in: whose sensor it is, and when.
  const full = readings.map((reading) => ({
    sensor_id: sensor,
    ...reading,
    timestamp: reading['timestamp'] ?? new Date(call.clock.now()).toISOString().replace(/\.\d+Z$/, 'Z'),
  }))
  const { known, left } = await describeSensor(call, sensor)
  const unsigned = buildMaml({
    frontMatter: {
      maml: '1.0',
      ...known,
      sensor,
      contributor: accountId(evmChain(call.config.chainId), account),
    },
    readings: full,
  })
  return { payload: signMaml(unsigned, signingSeed(call, options), mlDsa), sensor, left }
}

/** Dataset and schema name of a sensor as the API knows them; nothing where it does not: the chain fills them in anyway. */
async function describeSensor(
  call: Invocation,
  sensor: string,
): Promise<{ known: { dataset?: string; schema?: string }; left: string | null }> {
  try {
    const api = apiOf(call.config)
    const { dataset } = await api.call('getSensor', { name: sensor })
    const { current } = await api.call('getDataset', { name: dataset })
    return { known: { dataset, ...(current.schema_name ? { schema: current.schema_name } : {}) }, left: null }
  } catch (error) {
    return { known: {}, left: `Left dataset and schema out of the front matter: ${describeError(error)}\n` }
  }
}

function readReadings(input: Uint8Array): JsonObject[] {
  let value: Json
  try {
    value = parseJson(decodeUtf8(input), { maxDepth: MAML_LIMITS.jsonDepth })
  } catch (cause) {
    throw new DunesError('READING_INVALID', `the file is not a JSON reading: ${describeError(cause)}`, {
      hint: 'give one JSON object, an array of them, or a .maml.md file',
      cause,
    })
  }
  const list = Array.isArray(value) ? value : [value]
  if (
    list.every(
      (item): item is JsonObject => typeof item === 'object' && item !== null && !Array.isArray(item),
    )
  )
    return list
  throw new DunesError('READING_INVALID', 'a reading must be a JSON object', {
    hint: 'give one JSON object or an array of them',
  })
}

export const attest: Action = async (call, [id = ''], options) => {
  if (!isHex(id, 32)) {
    throw new DunesError('ID_INVALID', `${id} is not a submission's id`, {
      hint: 'give 0x and 64 lower-case hex digits',
    })
  }
  const registry = await openRegistry(call, options)
  const valid = options['reject'] !== true
  const prepared = await registry.attest(toHex(fromHex(id)), valid)
  await carryOut(call, options, prepared, ({ events }) => ({
    id,
    attested: valid ? 'valid' : 'invalid',
    settled: events.find((e) => e.type === 'settled')?.outcome ?? 'not yet',
  }))
  return undefined
}
