import { describe, expect, it } from 'vitest'
import {
  accountId,
  evmAccount,
  evmChain,
  evmChainId,
  parseAccount,
  parseChain,
} from '../../../src/chain/ids.ts'

const address = '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266'
const lower = address.toLowerCase()

describe('CAIP-2', () => {
  it('names EVM chains and reads them back', () => {
    expect(evmChain(31337)).toBe('eip155:31337')
    expect(evmChainId('eip155:31337')).toBe(31337)
    expect(parseChain('solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp')).toEqual({
      namespace: 'solana',
      reference: '5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp',
    })
  })
  it.each([
    '',
    'eip155',
    'eip155:',
    'ei:1',
    'EIP155:1',
    'eip155:1:2',
    `eip155:${'1'.repeat(33)}`,
    'eip155:1\n',
  ])('refuses %j', (text) => {
    expect(() => parseChain(text)).toThrow(expect.objectContaining({ code: 'BAD_CHAIN_ID' }))
  })
  it.each([
    'solana:1',
    'eip155:01',
    'eip155:0',
    'eip155:9007199254740993',
    'eip155:abc',
  ])('sees no EVM chain in %j', (text) => {
    expect(() => evmChainId(text)).toThrow(expect.objectContaining({ code: 'BAD_CHAIN_ID' }))
  })
  it.each([0, -1, 1.5, 2 ** 53])('makes none of %j', (chainId) => {
    expect(() => evmChain(chainId)).toThrow(RangeError)
  })
})

describe('CAIP-10', () => {
  it('joins and parts', () => {
    expect(accountId('eip155:1', lower)).toBe(`eip155:1:${lower}`)
    expect(parseAccount(`eip155:1:${address}`)).toEqual({ chain: 'eip155:1', address: lower })
    expect(parseAccount('solana:abc:7S3P4HxJpy')).toEqual({ chain: 'solana:abc', address: '7S3P4HxJpy' })
  })
  it.each([
    '',
    lower,
    `eip155:${lower}`,
    `eip155:1:${lower}0`,
    'eip155:1:',
    'eip155:1:0x12',
    `eip155:1:${lower}\n`,
  ])('refuses %j', (text) => {
    expect(() => parseAccount(text)).toThrow(expect.objectContaining({ code: 'BAD_CHAIN_ID' }))
  })
  it('takes an EVM account bare or with its own chain', () => {
    expect(evmAccount(address, 'eip155:1')).toBe(lower)
    expect(evmAccount(`eip155:1:${address}`, 'eip155:1')).toBe(lower)
    expect(() => evmAccount(`eip155:2:${address}`, 'eip155:1')).toThrow('eip155:1')
    expect(() => accountId('eip155:1', 'a b')).toThrow(expect.objectContaining({ code: 'BAD_CHAIN_ID' }))
  })
})
