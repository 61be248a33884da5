import { fromHex, isHex, sha256, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { ML_DSA_SIZES } from '../core/ml-dsa.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { MamlError } from '../maml/error.ts'
import { parseMaml } from '../maml/parse.ts'
import { parseSchemaFile, validateReading } from '../maml/schema.ts'
import { signMaml, verifyMaml } from '../maml/sign.ts'
import { checkMu } from '../receipt/check.ts'
import { buildMu, parseMu } from '../receipt/mu.ts'
import { repairMu, repairPayload } from '../receipt/repair.ts'
import { verifyEntry } from '../receipt/sign.ts'
import { apiOf } from './client.ts'
import type { Action, Invocation, Options } from './command.ts'
import { readInput, writeOutput } from './files.ts'
import { signingSeed } from './identity.ts'
import { printable, table } from './text.ts'

const output = (options: Options): string | undefined =>
  typeof options['output'] === 'string' ? options['output'] : undefined

/** A public key (1,952 bytes) from a file of raw bytes or hex, or that of our own signing key. */
async function publicKeyOf(call: Invocation, options: Options): Promise<Uint8Array> {
  if (typeof options['key'] !== 'string') return mlDsa.publicKey(65, signingSeed(call, options))
  const bytes = await readInput(call, options['key'])
  const text = new TextDecoder().decode(bytes).trim()
  const key = isHex(text) ? fromHex(text) : bytes
  if (key.length === ML_DSA_SIZES[65].publicKey) return key
  throw new DunesError('KEY_INVALID', `${printable(options['key'])} does not hold an ML-DSA-65 public key`, {
    hint: `a public key has ${ML_DSA_SIZES[65].publicKey} bytes, raw or as 0x hex`,
  })
}

/** Signs a payload; bytes before an existing signature are signed anew only with `--force`. */
export const mamlSign: Action = async (call, [file = ''], options) => {
  const bytes = await readInput(call, file)
  const maml = parseMaml(bytes)
  if (maml.signature.kind !== 'missing' && options['force'] !== true) {
    throw new DunesError('MAML_ALREADY_SIGNED', `${file} has a signature section`, {
      hint: 'pass --force to replace it',
    })
  }
  await writeOutput(call, output(options), signMaml(maml.signedBytes, signingSeed(call, options), mlDsa))
  return undefined
}

export const mamlVerify: Action = async (call, [file = ''], options) => {
  const maml = parseVerdict(await readInput(call, file))
  const publicKey = await publicKeyOf(call, options)
  const valid = verifyMaml(maml, publicKey, mlDsa)
  call.result(
    { valid, signature: maml.signature.kind, key_id: toHex(sha256(publicKey)) },
    (found) =>
      `${found.valid ? 'valid' : 'NOT valid'}: signature ${found.signature}, key id ${found.key_id}\n`,
  )
  return valid ? 0 : 1
}

/** A parse whose failure is the verdict "no" (exit code 1), and not a usage error. */
function parseVerdict(bytes: Uint8Array): ReturnType<typeof parseMaml> {
  try {
    return parseMaml(bytes)
  } catch (error) {
    if (!(error instanceof MamlError)) throw error
    throw new DunesError(error.code, error.message, {
      hint: error.hint ?? '',
      details: error.details,
      exitCode: 1,
      cause: error,
    })
  }
}

export const mamlInspect: Action = async (call, [file = ''], options) => {
  const bytes = await readInput(call, file)
  const maml = parseVerdict(bytes)
  const schema =
    typeof options['schema'] === 'string' ? parseSchemaFile(await readInput(call, options['schema'])) : null
  const issues = schema ? maml.readings.flatMap((reading, i) => validateReading(schema, reading, i)) : []
  call.result(
    {
      bytes: bytes.length,
      sha256: toHex(sha256(bytes)),
      front_matter: maml.frontMatter,
      readings: maml.readings.length,
      names: maml.names,
      signature: maml.signature.kind,
      signed_bytes: maml.signedBytes.length,
      schema_issues: issues,
    },
    (found) =>
      table([
        ['bytes', found.bytes],
        ['sha256', found.sha256],
        ...Object.entries(found.front_matter),
        ['readings', found.readings],
        ['names', found.names.join(', ')],
        ['signature', found.signature],
        ['signed bytes', found.signed_bytes],
      ]) +
      issues
        .map((issue) => `reading ${issue.reading} ${printable(issue.path)}: ${printable(issue.sentence)}\n`)
        .join(''),
  )
  return issues.length > 0 ? 1 : 0
}

/** Makes a whole receipt: from the API by id, or from a receipt's entry and the payload. */
export const muMake: Action = async (call, [source = '', payload], options) => {
  if (isHex(source, 32)) {
    const receipt = await apiOf(call.config).call('getSubmissionReceipt', { id: source })
    await writeOutput(call, output(options), receipt)
    return undefined
  }
  if (!payload) {
    throw new DunesError('PAYLOAD_MISSING', 'a receipt is made from an entry and its payload', {
      hint: 'pass a submission id, or an entry file and a payload file',
    })
  }
  const entry = await readInput(call, source)
  await writeOutput(call, output(options), buildMu(entry, await readInput(call, payload), null))
  return undefined
}

export const muCheck: Action = async (call, [payload = '', receipt = '']) => {
  const differences = checkMu(await readInput(call, payload), await readInput(call, receipt))
  call.result({ same: differences.length === 0, differences }, () =>
    differences.length === 0
      ? 'no difference: the payload and the receipt belong together\n'
      : differences
          .map(({ field, file, line, column, expected, found }) => {
            const values =
              expected === null && found === null
                ? ''
                : `: expected ${quoted(expected)}, found ${quoted(found)}`
            return `${file === 'payload' ? payload : receipt}:${line}:${column}  ${printable(field)}${values}\n`
          })
          .join(''),
  )
  return differences.length === 0 ? 0 : 1
}

const quoted = (text: string | null): string => (text === null ? 'nothing' : `"${printable(text)}"`)

/** Restores the payload from the receipt, or with `--receipt` the receipt's mirror from the payload. */
export const muRepair: Action = async (call, [payload = '', receipt = ''], options) => {
  const mu = await readInput(call, receipt)
  if (options['receipt'] === true) {
    const { bytes, signed } = repairMu(await readInput(call, payload), mu)
    await writeOutput(call, output(options) ?? receipt, bytes)
    call.note(
      `Restored the mirror in ${output(options) ?? receipt}${signed ? '' : '; its signature is lost, fetch it anew with `dunes mu make`'}.\n`,
    )
    return undefined
  }
  await writeOutput(call, output(options) ?? payload, repairPayload(mu))
  call.note(`Restored ${output(options) ?? payload}: its bytes have the hash that the receipt gives.\n`)
  return undefined
}

export const muShow: Action = async (call, [file = ''], options) => {
  const mu = parseMu(await readInput(call, file))
  const signature = mu.signature ? 'present' : 'none'
  const checked =
    mu.signature && typeof options['key'] === 'string'
      ? verifyEntry(mu.entryBytes, mu.signature, await publicKeyOf(call, options), mlDsa)
      : null
  call.result(
    {
      entry: mu.entry,
      data: mu.data,
      original: mu.original,
      timestamp: mu.timestamp,
      mirror_bytes: mu.mirror.length,
      signature,
      signature_valid: checked,
    },
    () =>
      table([
        ['Data', mu.data],
        ['Original', mu.original],
        ['Timestamp', mu.timestamp],
        ...Object.entries(mu.entry).map(([name, value]): [string, string] => [
          name,
          typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value),
        ]),
        ['mirror', `${mu.mirror.length} bytes`],
        ['signature', checked === null ? signature : checked ? 'valid' : 'NOT valid'],
      ]),
  )
  return checked === false ? 1 : 0
}

/** Sensors as the API lists them, newest first. */
export const listSensors: Action = async (call, _args, options) => {
  const { dataset, limit } = options
  const { items } = await apiOf(call.config).call('listSensors', {
    ...(typeof dataset === 'string' && { dataset }),
    ...(typeof limit === 'string' && { limit }),
  })
  call.result(items, (sensors) =>
    sensors.length === 0
      ? 'no sensor is registered\n'
      : sensors
          .map(
            ({ name, dataset: feeds, h3, contributor }) =>
              `${name.padEnd(24)}${feeds.padEnd(24)}${h3 === '0' ? 'no place'.padEnd(15) : h3}  ${contributor}\n`,
          )
          .join(''),
  )
  return undefined
}
