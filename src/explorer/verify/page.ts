import { type Hex, isHex } from '../../core/bytes.ts'
import { describeError } from '../../core/error.ts'
import { decodeAnyBundle } from '../../proof/bundle.ts'
import { decodeHeader } from '../../proof/header.ts'
import { parseTrustPolicy, type TrustPolicy } from '../../proof/trust-policy.ts'
import { verifyBundle } from '../../proof/verify.ts'
import { byId, element } from './dom.ts'
import { askBlockHash } from './node.ts'
import { fingerprint, showTrust, showVerification } from './result.ts'

/** Bytes of a file that is read at all; the parsers have tighter limits of their own. */
const MAX_FILE_BYTES = 64 * 1024 * 1024

/** What the user has chosen so far. Nothing here has a default: what must be trusted is never filled in for them. */
const chosen: {
  bundle: Uint8Array | null
  policy: TrustPolicy | null
  /** A hash that a node told, and which one; null where it was typed. */
  told: { hash: Hex; by: string } | null
} = { bundle: null, policy: null, told: null }

const hash = byId<HTMLInputElement>('hash')
const rpc = byId<HTMLInputElement>('rpc')
const result = byId('result')

function say(id: string, text: string, bad = false): void {
  const place = byId(id)
  place.replaceChildren(element('span', bad ? 'bad' : '', text))
}

/** Forgets an answer that is no longer about what is chosen. */
function forget(): void {
  result.hidden = true
  result.replaceChildren()
}

const blockNumber = (bundle: Uint8Array): number =>
  decodeHeader(decodeAnyBundle(bundle).evidence.header).number

async function take(kind: 'bundle' | 'policy', file: File | undefined): Promise<void> {
  forget()
  chosen[kind] = null
  if (kind === 'bundle') byId('block-number').textContent = ''
  if (!file) return say(`${kind}-state`, '')
  try {
    if (file.size > MAX_FILE_BYTES) throw new Error('it is far larger than any such file')
    const bytes = new Uint8Array(await file.arrayBuffer())
    const about = `${file.name}: ${bytes.length} bytes, SHA-256 ${fingerprint(bytes)}`
    if (kind === 'policy') {
      chosen.policy = parseTrustPolicy(bytes)
      return say('policy-state', `${about}. It trusts ${chosen.policy.origin} on ${chosen.policy.chain}.`)
    }
    chosen.bundle = bytes
    const number = blockNumber(bytes)
    byId('block-number').textContent = `, block ${number}`
    say('bundle-state', `${about}. It is proved under block ${number}.`)
  } catch (error) {
    say(`${kind}-state`, `${file.name} cannot be used: ${describeError(error)}`, true)
  }
}

for (const kind of ['bundle', 'policy'] as const) {
  const input = byId<HTMLInputElement>(kind)
  const zone = byId(`${kind}-zone`)
  input.addEventListener('change', () => void take(kind, input.files?.[0]))
  zone.addEventListener('dragover', (event) => {
    event.preventDefault()
    zone.classList.add('over')
  })
  zone.addEventListener('dragleave', () => zone.classList.remove('over'))
  zone.addEventListener('drop', (event) => {
    event.preventDefault()
    zone.classList.remove('over')
    void take(kind, event.dataTransfer?.files[0])
  })
}
// A file dropped beside the zones would otherwise replace this page.
for (const name of ['dragover', 'drop'] as const)
  window.addEventListener(name, (event) => event.preventDefault())

hash.addEventListener('input', () => {
  forget()
  chosen.told = null
  say('hash-state', '')
})

byId('ask').addEventListener('click', async () => {
  forget()
  const { bundle, policy } = chosen
  const url = rpc.value.trim()
  if (!bundle || !policy) return say('hash-state', 'First choose a bundle and a trust policy.', true)
  const button = byId<HTMLButtonElement>('ask')
  button.disabled = true
  say('hash-state', `Asking ${url} …`)
  try {
    const number = blockNumber(bundle)
    const told = await askBlockHash(url, policy.chain, number)
    hash.value = told
    chosen.told = { hash: told, by: url }
    say('hash-state', `As ${url} says it: you trust that node for the hash of block ${number}.`)
  } catch (error) {
    say('hash-state', describeError(error), true)
  } finally {
    button.disabled = false
  }
})

byId('form').addEventListener('submit', (event) => {
  event.preventDefault()
  forget()
  const { bundle, policy, told } = chosen
  const trusted = hash.value.trim().toLowerCase()
  result.hidden = false
  result.focus()
  const missing = [
    ...(bundle ? [] : ['a bundle']),
    ...(policy ? [] : ['a trust policy']),
    ...(isHex(trusted, 32) ? [] : ['a block hash (0x and 64 hex digits)']),
  ]
  if (!bundle || !policy || !isHex(trusted, 32)) {
    result.replaceChildren(element('p', 'banner', `Still needed: ${missing.join(', ')}.`))
    return
  }
  result.replaceChildren(element('p', 'banner', 'Checking …'))
  // After the next frame, so that the line above is seen while a large bundle is checked.
  requestAnimationFrame(() => setTimeout(() => show(bundle, policy, trusted, told), 0))
})

function show(bundle: Uint8Array, policy: TrustPolicy, trusted: Hex, told: typeof chosen.told): void {
  const from = told?.hash === trusted ? `as ${told.by} says it` : 'as you gave it'
  const trust = showTrust(policy, trusted, from)
  try {
    const verification = verifyBundle({ bundle, policy, trustedBlockHash: trusted })
    result.replaceChildren(...showVerification(verification), ...trust)
  } catch (error) {
    const reason = `No: the bundle is refused: ${describeError(error)}`
    result.replaceChildren(element('p', 'banner no', reason), ...trust)
  }
}
