import { setImmediate } from 'node:timers/promises'

/** One figure of the bench's document. */
export interface Figure {
  readonly name: string
  readonly unit: string
  /** The median: of the samples where there are percentiles, else of the runs, else the one value there is. */
  readonly value: number
  /** How many operations were measured. */
  readonly samples: number
  readonly p50?: number
  readonly p95?: number
  readonly p99?: number
  readonly max?: number
  /** Repetitions of the whole measurement, in the order in which they were made. */
  readonly runs?: readonly number[]
  /** A floor or a peer that was measured in the same run: `ratio` is this figure's value divided by its. */
  readonly comparedWith?: readonly Comparison[]
  /** How it was measured, where the name does not say it. */
  readonly note?: string
}

export interface Comparison {
  readonly name: string
  readonly unit: string
  readonly value: number
  readonly ratio: number
}

/** What one operation cost, over all blocks in which it was measured. */
export interface Timing {
  /** Microseconds of each call, ascending. */
  readonly micros: readonly number[]
  /** Calls a second, block by block. */
  readonly rates: readonly number[]
  /** Microseconds of CPU that a call took on this thread, on average. */
  readonly cpuMicros: number
}

export interface MeasureOptions {
  /** Blocks of each operation, 10 unless told. */
  blocks?: number
  /** Milliseconds of a block, 60 unless told; a block has at least one call. */
  blockMs?: number
}

type Work = () => unknown

/**
 * Measures operations side by side: in blocks that take turns, so that whatever else the machine does meanwhile falls on all
 * of them alike. One block of each goes before and counts for nothing, for the compiler to warm up. A promise is awaited.
 */
export async function measure<const Name extends string>(
  works: Readonly<Record<Name, Work>>,
  { blocks = 10, blockMs = 60 }: MeasureOptions = {},
): Promise<Record<Name, Timing>> {
  const names = Object.keys(works) as Name[]
  const raw = new Map(names.map((name) => [name, { micros: [] as number[], rates: [] as number[], cpu: 0 }]))
  for (let block = -1; block < blocks; block++) {
    for (const name of names) {
      // Between blocks signals and timers get their turn.
      await setImmediate()
      const micros: number[] = []
      const cpuBefore = process.threadCpuUsage()
      const begun = performance.now()
      let before = begun
      do {
        const result = works[name]()
        if (result instanceof Promise) await result
        const after = performance.now()
        micros.push((after - before) * 1000)
        before = after
      } while (before - begun < blockMs)
      const { user, system } = process.threadCpuUsage(cpuBefore)
      if (block < 0) continue
      const into = raw.get(name)!
      into.micros.push(...micros)
      into.rates.push((micros.length * 1000) / (before - begun))
      into.cpu += user + system
    }
  }
  const out = {} as Record<Name, Timing>
  for (const [name, { micros, rates, cpu }] of raw)
    out[name] = { micros: micros.sort((a, b) => a - b), rates, cpuMicros: cpu / micros.length }
  return out
}

/** Quantile `q` of ascending numbers, by nearest rank. */
export function quantile(ascending: readonly number[], q: number): number {
  const value = ascending[Math.min(ascending.length - 1, Math.max(0, Math.ceil(q * ascending.length) - 1))]
  if (value === undefined) throw new RangeError('no samples')
  return value
}

export const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )

/** Four digits: more would be noise. */
export const rounded = (value: number): number => Number(value.toPrecision(4))

/** A latency's figure, from samples in any order. */
export function latency(
  name: string,
  unit: 'us' | 'ms',
  samples: readonly number[],
  more: Pick<Figure, 'comparedWith' | 'note'> = {},
): Figure {
  const ascending = [...samples].sort((a, b) => a - b)
  const at = (q: number) => rounded(quantile(ascending, q))
  const p50 = at(0.5)
  return {
    name,
    unit,
    value: p50,
    samples: samples.length,
    p50,
    p95: at(0.95),
    p99: at(0.99),
    max: at(1),
    ...more,
  }
}

/** A rate's figure, from runs of `samples` operations in all. */
export const rate = (
  name: string,
  unit: string,
  runs: readonly number[],
  samples: number,
  more: Pick<Figure, 'comparedWith' | 'note'> = {},
): Figure => ({ name, unit, value: rounded(median(runs)), samples, runs: runs.map(rounded), ...more })

/** A figure that does not vary: bytes, gas, a share. */
export const exact = (
  name: string,
  unit: string,
  value: number,
  more: Partial<Omit<Figure, 'name' | 'unit' | 'value'>> = {},
): Figure => ({ name, unit, value, samples: 1, ...more })

/** What a timing says by its median, as something to compare with. */
export const against = (value: number, name: string, unit: string, floor: number): Comparison => ({
  name,
  unit,
  value: rounded(floor),
  ratio: rounded(value / floor),
})

/** The comparison of two timings by their medians. */
export const againstTiming = (timing: Timing, name: string, floor: Timing): Comparison =>
  against(median(timing.micros), name, 'us', median(floor.micros))

/** Stops the bench where it would otherwise measure something other than it says. */
export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`the bench is wrong: ${what}`)
}
