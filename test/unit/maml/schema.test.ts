import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/core/bytes.ts'
import type { JsonObject } from '../../../src/core/json.ts'
import { parseSchemaFile, validateReading } from '../../../src/maml/schema.ts'
import { IOT_SCHEMA, parseText, refusal, vector } from './fixture.ts'

const FRONT = '---\nmaml: 1.0\nschema: s.maml\ndataset: d\n---\n'
const file = (schema: unknown, front = FRONT) =>
  utf8(
    `${front}## Schema\n\`\`\`json\n${typeof schema === 'string' ? schema : JSON.stringify(schema)}\n\`\`\`\n`,
  )
const issues = (schema: unknown, reading: unknown) =>
  validateReading(parseSchemaFile(file(schema)), reading as JsonObject)
const paths = (schema: unknown, reading: unknown) => issues(schema, reading).map(({ path }) => path)

describe('schema files', () => {
  it("reads the devnet's, which takes the example reading", () => {
    const schema = parseSchemaFile(IOT_SCHEMA)
    expect([schema.name, schema.dataset]).toEqual(['iot_data.maml', 'helium_sensors'])
    const reading = parseText(new TextDecoder().decode(vector('maml/seed.maml.md'))).readings[0] as JsonObject
    expect(validateReading(schema, reading)).toEqual([])
    expect(validateReading(schema, { ...reading, air_quality: 501 }, 7)).toEqual([
      { reading: 7, path: '/air_quality', sentence: '501 is more than the maximum 500' },
    ])
    expect(validateReading(schema, { ...reading, air_quality: 85.5 })[0]?.path).toBe('/air_quality')
    expect(validateReading(schema, { ...reading, other: 1 })[0]?.path).toBe('/other')
    const { air_quality: _, ...rest } = reading
    expect(validateReading(schema, rest)[0]?.sentence).toContain('"air_quality"')
  })

  it.each([
    ['no front matter', file({}, '')],
    ['no schema name', file({}, '---\nmaml: 1.0\ndataset: d\n---\n')],
    ['no dataset', file({}, '---\nmaml: 1.0\nschema: s\n---\n')],
    ['no version', file({}, '---\nschema: s\ndataset: d\n---\n')],
    ['a key of payloads', file({}, FRONT.replace('schema', 'sensor: a\nschema'))],
    ['a signature', utf8(`${new TextDecoder().decode(file({}))}## Signature\nCRYSTALS-Dilithium: 0x\n`)],
    ['a data block', utf8(new TextDecoder().decode(file({})).replace('Schema', 'Data_Block'))],
    ['an array', file([])],
    ['a boolean', file('true')],
    ['duplicate keys', file('{"type":"object","type":"object"}')],
    ['more than 16 KiB', file(`{}${' '.repeat(16_384)}`)],
    ['depth 17', file(`${'{"items":'.repeat(17)}{}${'}'.repeat(17)}`)],
  ])('refuses one with %s', (_, bytes) => {
    refusal(() => parseSchemaFile(bytes))
  })

  it.each<[unknown]>([
    [{ $ref: '#' }],
    [{ pattern: 'a' }],
    [{ format: 'date-time' }],
    [{ title: 'x' }],
    [{ $schema: 'https://json-schema.org/draft/2020-12/schema' }],
    [{ anyOf: [{}] }],
    [{ exclusiveMinimum: 0 }],
    [{ minItems: 1 }],
    [{ uniqueItems: true }],
    [{ constructor: 1 }],
    [{ type: 'int' }],
    [{ type: [] }],
    [{ type: ['string', 'string'] }],
    [{ type: ['string', 1] }],
    [{ type: null }],
    [{ properties: [] }],
    [{ properties: { a: 1 } }],
    [{ properties: { a: { pattern: 'x' } } }],
    [{ items: [{}] }],
    [{ items: { $ref: '#' } }],
    [{ additionalProperties: { format: 'x' } }],
    [{ additionalProperties: 'no' }],
    [{ required: 'a' }],
    [{ required: ['a', 'a'] }],
    [{ required: [1] }],
    [{ enum: 'a' }],
    [{ minimum: '1' }],
    [{ maximum: null }],
    [{ minLength: -1 }],
    [{ maxLength: 1.5 }],
    [{ maxLength: '1' }],
    [{ description: 1 }],
  ])('refuses the schema %j', (schema) => {
    expect(refusal(() => parseSchemaFile(file(schema))).line).toBe(8)
  })
})

describe('validation', () => {
  const CAMELS = '🐪🐪'
  it.each<[unknown, unknown, string[]]>([
    [{}, { a: 1 }, []],
    [{ type: 'object' }, {}, []],
    [{ type: 'array' }, {}, ['']],
    [{ properties: { a: { type: 'integer' } } }, { a: 1.0 }, []],
    [{ properties: { a: { type: 'integer' } } }, { a: 1.5 }, ['/a']],
    [{ properties: { a: { type: 'number' } } }, { a: 1.5 }, []],
    [{ properties: { a: { type: 'number' } } }, { a: '1' }, ['/a']],
    [{ properties: { a: { type: ['null', 'boolean'] } } }, { a: null }, []],
    [{ properties: { a: { type: ['null', 'boolean'] } } }, { a: false }, []],
    [{ properties: { a: { type: ['null', 'boolean'] } } }, { a: 0 }, ['/a']],
    [{ properties: { a: { type: 'object' } } }, { a: null }, ['/a']],
    [{ properties: { a: { type: 'object' } } }, { a: [] }, ['/a']],
    [{ properties: { a: { type: 'array' } } }, { a: [] }, []],
    [{ properties: { a: { type: 'string' } } }, {}, []],
    [{ properties: { a: true } }, { a: 1 }, []],
    [{ properties: { a: false } }, { a: 1 }, ['/a']],
    [{ properties: { a: false } }, {}, []],
    [{ required: ['a', 'b'] }, { b: null }, ['']],
    [{ required: ['toString'] }, {}, ['']],
    [{ additionalProperties: false }, { a: 1, b: 2 }, ['/a', '/b']],
    [{ properties: { a: {} }, additionalProperties: false }, { a: 1 }, []],
    [{ properties: { a: {} }, additionalProperties: { type: 'string' } }, { a: 1, b: 'x', c: 1 }, ['/c']],
    [{ properties: {}, additionalProperties: false }, JSON.parse('{"__proto__": 1}'), ['/__proto__']],
    [{ properties: { a: { items: { minimum: 1 } } } }, { a: [1, 0, 2, -1] }, ['/a/1', '/a/3']],
    [{ properties: { a: { items: false } } }, { a: [] }, []],
    [{ properties: { a: { items: { minimum: 1 } } } }, { a: 'no array' }, []],
    [{ properties: { a: { minimum: 1, maximum: 2 } } }, { a: 1 }, []],
    [{ properties: { a: { minimum: 1, maximum: 2 } } }, { a: 2.01 }, ['/a']],
    [{ properties: { a: { minimum: 1 } } }, { a: 'no number' }, []],
    [{ properties: { a: { minLength: 2, maxLength: 2 } } }, { a: CAMELS }, []],
    [{ properties: { a: { maxLength: 1 } } }, { a: CAMELS }, ['/a']],
    [{ properties: { a: { minLength: 3 } } }, { a: CAMELS }, ['/a']],
    [{ properties: { a: { minLength: 3 } } }, { a: 1 }, []],
    [{ properties: { a: { enum: [1, 'x', null] } } }, { a: null }, []],
    [{ properties: { a: { enum: [1, 'x', null] } } }, { a: '1' }, ['/a']],
    [{ properties: { a: { enum: [] } } }, { a: 1 }, ['/a']],
    [{ properties: { a: { enum: [{ b: [1, { c: 2 }], d: 0 }] } } }, { a: { d: -0, b: [1, { c: 2.0 }] } }, []],
    [{ properties: { a: { enum: [{ b: [1] }] } } }, { a: { b: [1, 2] } }, ['/a']],
    [{ properties: { a: { enum: [[]] } } }, { a: {} }, ['/a']],
    [{ properties: { a: { enum: [{}] } } }, { a: [] }, ['/a']],
    [{ properties: { a: { enum: [JSON.parse('{"__proto__": {}}')] } } }, { a: { b: 1 } }, ['/a']],
    [{ properties: { a: { enum: [[], 0.5, 'x'] } } }, { a: 0.5 }, []],
    [{ properties: { a: { enum: [[], 0, 'x'] } } }, { a: -0 }, []],
    [{ properties: { a: { const: null } } }, { a: null }, []],
    [{ properties: { a: { const: null } } }, { a: 0 }, ['/a']],
    [{ properties: { a: { const: { b: 1 } } } }, { a: { b: 1, c: 1 } }, ['/a']],
    [{ properties: { 'a/b~c': { type: 'null' } } }, { 'a/b~c': 1 }, ['/a~1b~0c']],
    [
      {
        properties: {
          a: { type: 'object', properties: { b: { type: 'string', minLength: 2 } }, required: ['c'] },
        },
      },
      { a: { b: 'x' } },
      ['/a', '/a/b'],
    ],
  ])('%j on %j', (schema, reading, expected) => {
    expect(paths(schema, reading)).toEqual(expected)
  })

  it('gives the index of the reading and a sentence', () => {
    const schema = parseSchemaFile(file({ properties: { a: { type: ['string', 'null'] } } }))
    expect(validateReading(schema, { a: [] }, 3)).toEqual([
      { reading: 3, path: '/a', sentence: 'must be string or null, is array' },
    ])
  })
})
