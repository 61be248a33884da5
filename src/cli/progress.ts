import type { Invocation } from './command.ts'

/** Milliseconds between two lines of progress. */
const TELL_MS = 5_000

/** Notes how far a long step is, now and then, with an estimate of what is left of it. */
export function stepLines({ note, clock }: Invocation): (step: string, done: number, total: number) => void {
  let step = ''
  let [began, from, told] = [0, 0, clock.now()]
  return (name, done, total) => {
    const now = clock.now()
    if (name !== step) [step, began, from] = [name, now, done]
    if (now - told < TELL_MS) return
    told = now
    const rate = (done - from) / Math.max(1, now - began)
    const left = rate > 0 ? `, about ${Math.ceil((total - done) / rate / 1000)} s left` : ''
    note(`${name}: ${done} of ${total}${left}\n`)
  }
}
