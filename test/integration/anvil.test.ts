import { expect, test } from 'vitest'
import { testAnvil } from '../support/anvil.ts'

test('anvil answers and stops', async () => {
  const anvil = await testAnvil()
  const body = { jsonrpc: '2.0', id: 1, method: 'eth_chainId', params: [] }
  const ask = () =>
    fetch(anvil.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  expect(await (await ask()).json()).toMatchObject({ result: '0x7a69' })
  await anvil.stop()
  await expect(ask()).rejects.toThrow()
})
