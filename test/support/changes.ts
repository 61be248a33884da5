import type { ChangeItem } from '../../src/service/changes.ts'

/** What is known of a submission from the feed alone. */
export interface FoldedState {
  state: 'pending' | 'settled' | 'final' | 'logged' | 'anchored'
  index: number | null
  outcome: string | null
  verdict: string | null
  reason: string | null
}

/**
 * Folds a feed, read from its beginning without filters, into the state of every submission. Throws where an item is impossible after those
 * before it: an id that does not follow, a settlement of what is not pending, a range that leaves a gap, and so on.
 */
export function foldChanges(items: readonly ChangeItem[]): Map<string, FoldedState> {
  const states = new Map<string, FoldedState>()
  const byIndex = new Map<number, FoldedState>()
  const reached = { final: 0, logged: 0, anchored: 0 }
  let last = 0
  let rolledBackTo: number | null = null
  const refuse = (item: ChangeItem, why: string): never => {
    throw new Error(`${why}: ${JSON.stringify(item)}`)
  }
  for (const item of items) {
    const id = Number(item.id.split('-')[1])
    const width = item.first_index === undefined ? 1 : (item.last_index as number) - item.first_index + 1
    if (id !== last + width) refuse(item, `the id does not follow ${last}`)
    last = id
    const known = states.get(item.submission ?? '')
    switch (item.kind) {
      case 'submitted':
        if (known) refuse(item, 'submitted twice')
        states.set(item.submission as string, {
          state: 'pending',
          index: null,
          outcome: null,
          verdict: null,
          reason: null,
        })
        break
      case 'settled': {
        if (known?.state !== 'pending') return refuse(item, 'settled, but not pending')
        if (item.index !== byIndex.size) refuse(item, `index ${byIndex.size} was due`)
        Object.assign(known, { state: 'settled', index: item.index, outcome: item.outcome })
        byIndex.set(item.index as number, known)
        break
      }
      case 'judged':
        if (!known || known.index !== item.index) return refuse(item, 'judged, but not settled so')
        if (known.verdict !== null && item.reason !== 'DUPLICATE') refuse(item, 'judged twice')
        if (known.state === 'logged' || known.state === 'anchored') refuse(item, 'judged after it was logged')
        Object.assign(known, { verdict: item.verdict, reason: item.reason })
        break
      case 'unsettled':
        if (known?.state !== 'settled') return refuse(item, 'unsettled, but not settled')
        if (rolledBackTo === null || (item.block as number) <= rolledBackTo)
          refuse(item, 'unsettled without a rollback')
        if (known.index !== byIndex.size - 1) refuse(item, 'unsettled out of order')
        byIndex.delete(known.index as number)
        Object.assign(known, { state: 'pending', index: null, outcome: null, verdict: null, reason: null })
        break
      case 'removed':
        if (known?.state !== 'pending') refuse(item, 'removed, but not pending')
        if (rolledBackTo === null || (item.block as number) <= rolledBackTo)
          refuse(item, 'removed without a rollback')
        states.delete(item.submission as string)
        break
      case 'rolled_back':
        break
      case 'final':
      case 'logged':
      case 'anchored': {
        const { kind, first_index: from = -1, last_index: to = -1 } = item
        if (from !== reached[kind]) refuse(item, `${kind} from ${reached[kind]} on was due`)
        const before = { final: 'settled', logged: 'final', anchored: 'logged' }[kind]
        for (let i = from; i <= to; i++) {
          const state = byIndex.get(i)
          if (state?.state !== before) return refuse(item, `index ${i} is not ${before}`)
          if (kind === 'logged' && state.verdict === null) refuse(item, `index ${i} has no verdict`)
          state.state = kind
        }
        reached[kind] = to + 1
      }
    }
    if (item.kind === 'rolled_back') rolledBackTo = item.block as number
    else if (item.kind !== 'unsettled' && item.kind !== 'removed') rolledBackTo = null
  }
  return states
}

export interface StreamEvent {
  event: string
  id: string | null
  data: string
}

/** The events of a stream of server-sent events (WHATWG HTML, section 9.2.6); `id` is the last one that was sent so far. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamEvent> {
  let text = ''
  let id: string | null = null
  const decoder = new TextDecoder()
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true })
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const block = text.slice(0, end)
      text = text.slice(end + 2)
      let event = 'message'
      const data: string[] = []
      let comment = false
      for (const line of block.split('\n')) {
        const [, field = '', value = ''] = /^([a-z]*):? ?(.*)$/s.exec(line) ?? []
        if (field === 'event') event = value
        else if (field === 'id') id = value
        else if (field === 'data') data.push(value)
        else if (field === '') comment = true
      }
      if (data.length > 0 || comment)
        yield { event: data.length > 0 ? event : ':', id, data: data.join('\n') }
    }
  }
}
