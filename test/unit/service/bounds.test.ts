import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Bounds, indexRange, STATES, stateOf } from '../../../src/service/bounds.ts'

const bounds = fc.tuple(fc.nat(20), fc.nat(20), fc.nat(20), fc.nat(20)).map((sizes): Bounds => {
  const [anchored, logged, final, settled] = sizes.sort((a, b) => a - b) as [number, number, number, number]
  return { anchored, logged, final, settled }
})

test('every settled index is in exactly one state, the one whose range holds it', () => {
  fc.assert(
    fc.property(bounds, (b) => {
      for (let index = 0; index < b.settled; index++) {
        const holding = STATES.filter((state) => {
          if (state === 'pending') return false
          const { from, to } = indexRange(state, b)
          return from <= index && index < to
        })
        expect(holding).toEqual([stateOf(index, b)])
      }
    }),
  )
})

test('a submission without an index is pending, however far the log is', () => {
  expect(stateOf(null, { final: 5, logged: 5, anchored: 5 })).toBe('pending')
})

test('a state only rises along the way', () => {
  const b = { final: 7, logged: 5, anchored: 3 }
  expect([8, 7, 6, 5, 4, 3, 2, 0].map((i) => stateOf(i, b))).toEqual([
    'settled',
    'settled',
    'final',
    'final',
    'logged',
    'logged',
    'anchored',
    'anchored',
  ])
})
