import { decodeUtf8, equalBytes } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import {
  type Checkpoint,
  checkSignerSets,
  openCheckpoint,
  parseCheckpointBody,
  type RetiredSigners,
} from '../log/checkpoint.ts'
import { LogError } from '../log/error.ts'
import { parseNote } from '../log/note.ts'
import { formatVkey, type Vkey } from '../log/vkey.ts'
import { MirrorError } from './error.ts'

/** Seconds that a signer's clock may be ahead of ours. */
export const CLOCK_ALLOWANCE_SECONDS = 300

/** Whom a follower believes: the log's name and everybody who must have signed its checkpoints, from elsewhere than the log. */
export interface LogTrust {
  readonly origin: string
  readonly vkeys: readonly Vkey[]
  /** Sets of keys that signed before these did: a log is still under their last checkpoint until it grows. */
  readonly retired?: readonly RetiredSigners[]
  readonly mlDsa: MlDsa
  /** See {@link CLOCK_ALLOWANCE_SECONDS}. */
  readonly allowanceSeconds?: number
}

const refuse = (message: string): never => {
  throw new MirrorError('CHECKPOINT_REFUSED', message, {
    hint: 'compare the keys with those that the operator publishes elsewhere; docs/log.md says what a checkpoint is',
  })
}

/**
 * The checkpoint in `note`, signed by exactly the keys of `trust`, once each and by nobody else, and not later than `now`
 * (milliseconds). A line that none of the keys made is refused and not passed over: by its key id nobody here can tell a
 * mistyped key from a signature of an unknown type. Throws `CHECKPOINT_REFUSED` and `CHECKPOINT_FROM_FUTURE`.
 */
export function judgeCheckpoint(note: Uint8Array, trust: LogTrust, now: number): Checkpoint {
  const known = { ...trust, vkeys: knownKeys(trust) }
  const opened = openCheckpoint(note, known)
  if (!opened.ok) return refuse(`the checkpoint is refused: ${strangers(note, trust)[0] ?? opened.reason}`)
  const exact = checkSignerSets(opened, trust.vkeys, trust.retired)
  if (!exact.ok) return refuse(`the checkpoint is refused: ${strangers(note, trust)[0] ?? exact.reason}`)
  const latest = Math.floor(now / 1000) + (trust.allowanceSeconds ?? CLOCK_ALLOWANCE_SECONDS)
  for (const { vkey, timestamp } of opened.verified) {
    if (timestamp === null || timestamp <= latest) continue
    throw new MirrorError(
      'CHECKPOINT_FROM_FUTURE',
      `${vkey.name} has signed the checkpoint at ${timestamp}, ${timestamp - Math.floor(now / 1000)} seconds from now`,
      { hint: "check this machine's clock; if it is right, the signer's is wrong", retryable: true },
    )
  }
  return opened.checkpoint
}

const knownKeys = ({ vkeys, retired = [] }: LogTrust): Vkey[] => [
  ...vkeys,
  ...retired.flatMap((set) => set.vkeys),
]

/** What the lines are that no key of `trust` made, one phrase each. */
function strangers(note: Uint8Array, trust: LogTrust): string[] {
  const vkeys = knownKeys(trust)
  try {
    return parseNote(note)
      .signatures.filter((line) => !vkeys.some((v) => v.name === line.name && v.keyId === line.keyId))
      .map(({ name, keyId }) => {
        const id = keyId.toString(16).padStart(8, '0')
        const known = vkeys.filter((vkey) => vkey.name === name).map((vkey) => formatVkey(vkey).split('+')[1])
        return known.length > 0
          ? `a line of ${name} has the key id ${id}, which is not that of its key (${known.join(', ')}), or is of an unknown signature type`
          : `${name} (key id ${id}) has signed, whom nobody here knows`
      })
  } catch (error) {
    if (error instanceof LogError) return []
    throw error
  }
}

/** The checkpoint that a folder holds; it was judged before it was written there. Throws `FOLDER_UNUSABLE`. */
export function readHeld(note: Uint8Array, origin: string): Checkpoint {
  let held: Checkpoint
  try {
    held = parseCheckpointBody(parseNote(decodeUtf8(note)).text)
  } catch (cause) {
    throw new MirrorError('FOLDER_UNUSABLE', 'the checkpoint in the folder cannot be read', {
      hint: 'choose an empty folder, or put back the file from a backup',
      exitCode: 2,
      cause,
    })
  }
  if (held.origin === origin) return held
  throw new MirrorError('FOLDER_UNUSABLE', `the folder holds another log, ${held.origin}`, {
    hint: 'use a folder of its own for each log',
    exitCode: 2,
  })
}

/** Whether `next` can follow `held` as far as sizes and roots alone say. Throws `LOG_SHRUNK` and `LOG_FORKED`. */
export function requireNoStepBack(held: Checkpoint, next: Checkpoint): void {
  if (next.size < held.size) {
    throw new MirrorError('LOG_SHRUNK', `the log has ${next.size} entries; it had ${held.size} before`, {
      hint: 'an old copy may have answered: try again; a log that stays so has dropped entries',
      retryable: true,
    })
  }
  if (next.size === held.size && !equalBytes(next.root, held.root)) {
    throw new MirrorError('LOG_FORKED', `the log shows a second root at size ${held.size}`, {
      hint: 'the two signed checkpoints together prove that its signers made two histories; both are kept',
    })
  }
}
