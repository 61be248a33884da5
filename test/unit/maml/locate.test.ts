import { describe, expect, it } from 'vitest'
import { locateJson, pathFinder } from '../../../src/maml/locate.ts'

const TEXT = ' [ { "a" : "x,]}\\"" , "b\\u0062": [ 1, {"c":{}} ,[] ] },\n true ] '

describe('places in JSON', () => {
  it.each([
    [[], '[ { "a"'],
    [[0], '{ "a"'],
    [[0, 'a'], '"x,]}'],
    [[0, 'bb'], '[ 1'],
    [[0, 'bb', 1], '{"c"'],
    [[0, 'bb', 1, 'c'], '{}}'],
    [[0, 'bb', 2], '[] ]'],
    [[1], 'true'],
    [[1, 'none'], 'true'],
    [[0, 'none', 3], '{ "a"'],
  ])('%j', (path, start) => {
    expect(TEXT.slice(locateJson(TEXT, path)).startsWith(start)).toBe(true)
  })

  it('names the path of an offset', () => {
    const pathAt = pathFinder(TEXT)
    expect(pathAt(TEXT.indexOf('"a"'))).toEqual([0, 'a'])
    expect(pathAt(TEXT.indexOf('x,'))).toEqual([0, 'a'])
    expect(pathAt(TEXT.indexOf('{}'))).toEqual([0, 'bb', 1, 'c'])
    expect(pathAt(TEXT.indexOf('rue'))).toEqual([1])
    expect(pathAt(0)).toEqual([])
  })
})
