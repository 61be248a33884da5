import { parseMaml } from '../src/maml/parse.ts'
import { SIZES, signedPayload } from './fixture.ts'
import { againstTiming, type Figure, latency, measure } from './measure.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The strict parse of a payload, beside the platform's own UTF-8 decoding and `JSON.parse` of the same readings. */
export async function benchMaml(): Promise<Figure[]> {
  const out: Figure[] = []
  for (const size of SIZES) {
    const bytes = signedPayload(size)
    const text = decoder.decode(bytes)
    const open = text.indexOf('```json\n') + '```json\n'.length
    const json = bytes.subarray(open, text.indexOf('\n```\n', open))
    const { parse, floor } = await measure({
      parse: () => parseMaml(bytes),
      floor: () => JSON.parse(decoder.decode(json)),
    })
    out.push(
      latency(`maml_parse_${size}`, 'us', parse.micros, {
        comparedWith: [againstTiming(parse, 'JSON.parse of the same readings', floor)],
        note: `${bytes.length} bytes; strict: duplicate keys, depth, number ranges, real dates`,
      }),
    )
  }
  return out
}
