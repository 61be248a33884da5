import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { fromHex, type Hex, toHex } from '../../src/core/bytes.ts'
import { jcs } from '../../src/core/json.ts'
import type { Sql } from '../../src/graph/connect.ts'
import { encodeBundle } from '../../src/proof/bundle.ts'
import { startApi, type TestApi } from '../support/api.ts'
import { deployment } from '../support/graph.ts'
import { proofWorld, type TestBlock } from '../support/proof-world.ts'

/** The page /verify in headless Chromium: Debian's package, or the one that CHROMIUM names. */
const EXECUTABLE = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const hasChromium = (() => {
  try {
    accessSync(EXECUTABLE, constants.X_OK)
    return true
  } catch {
    return false
  }
})()
if (!hasChromium)
  console.warn(`SKIPPED: there is no ${EXECUTABLE}; apt-get install chromium, or set CHROMIUM`)

const ALL = ['included', 'onChain', 'anchored', 'appendOnly', 'contributorSigned', 'receiptSigned']
/** Requests go to the API only while the page is loaded; it asks no database. */
let api: TestApi
let browser: Browser
let page: Page
let folder: string
let block: TestBlock
let requests: string[]
const files = { bundle: '', minimal: '', tampered: '', lied: '', policy: '', broken: '' }

/** A JSON-RPC node that knows one block, and lets pages ask it. */
let node: { server: Server; url: string; hash: Hex; chainId: string; asked: string[] }

// In .ci/run a missing browser is a failure, elsewhere a notice.
test.runIf(process.env['CI'] === 'true')('Chromium is there', () =>
  expect(hasChromium, EXECUTABLE).toBe(true),
)

describe.skipIf(!hasChromium)('the page /verify', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'dunes-ui-'))
    const world = await proofWorld()
    block = await world.block()
    const bundle = await world.bundle(block, { index: 3, full: true })
    const put = (name: keyof typeof files, bytes: Uint8Array | string) => {
      files[name] = join(folder, `${name}.json`)
      writeFileSync(files[name], bytes)
    }
    put('bundle', encodeBundle(bundle))
    put('minimal', encodeBundle(await world.bundle(block, { index: 3 })))
    const flipped = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))
    put('tampered', encodeBundle({ ...bundle, payload: flipped(bundle.payload as Uint8Array, 40) }))
    put('lied', encodeBundle({ ...bundle, entry: flipped(bundle.entry, 40) }))
    put('policy', JSON.stringify(world.policy, null, 2))
    put('broken', `${jcs({ entry: '<img src=x onerror=alert(1)>' })}`)
    api = await startApi({ sql: null as unknown as Sql, deployment })
    node = { server: createServer(), url: '', hash: block.hash, chainId: '0x7a69', asked: [] }
    node.server.on('request', async (request, response): Promise<void> => {
      const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'content-type' }
      if (request.method === 'OPTIONS') return void response.writeHead(204, cors).end()
      let body = ''
      for await (const chunk of request) body += chunk
      const { method, params } = JSON.parse(body)
      node.asked.push(method)
      const known = params[0] === '0x12c' ? { number: '0x12c', hash: node.hash } : null
      const answer = method === 'eth_chainId' ? node.chainId : known
      response.writeHead(200, cors).end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: answer }))
    })
    await new Promise<void>((resolve) => node.server.listen(0, '127.0.0.1', resolve))
    node.url = `http://127.0.0.1:${(node.server.address() as AddressInfo).port}`
    browser = await chromium.launch({ executablePath: EXECUTABLE, args: ['--no-sandbox'] })
  })
  afterAll(async () => {
    await browser?.close()
    node?.server.closeAllConnections()
    node?.server.close()
    await api?.close()
    if (folder) rmSync(folder, { recursive: true, force: true })
  })

  const open = async (url: string) => {
    page = await browser.newPage()
    const problems: string[] = []
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
    page.on('pageerror', (error) => problems.push(error.message))
    await page.goto(url)
    // What the browser asks for on its own account, such as an icon, is over with the load.
    requests = []
    page.on('request', (request) => requests.push(request.url()))
    return problems
  }
  let problems: string[]
  beforeEach(async () => {
    problems = await open(`${api.url}/verify`)
    node.hash = block.hash
    node.chainId = '0x7a69'
    node.asked.length = 0
  })
  afterEach(async () => {
    expect(problems).toEqual([])
    await page.close()
  })

  const choose = async (bundle: string, policy = files.policy, hash: string = block.hash) => {
    await page.setInputFiles('#bundle', bundle)
    await page.setInputFiles('#policy', policy)
    if (hash) await page.fill('#hash', hash)
  }
  /** The statuses by claim that the page shows after a click, or none where it refuses the bundle. */
  const verify = async (): Promise<Record<string, string>> => {
    await page.click('#verify')
    await page.waitForSelector('#result .banner:not(:has-text("Checking"))')
    const rows = await page.locator('#result li').all()
    const pairs = rows.map(async (row) => [
      await row.getAttribute('data-claim'),
      await row.getAttribute('class'),
    ])
    return Object.fromEntries(await Promise.all(pairs))
  }
  const text = (selector: string) => page.locator(selector).innerText()
  const statuses = (names: readonly string[], status: string) =>
    Object.fromEntries(names.map((n) => [n, status]))

  test('begins with nothing filled in, and asks for what is missing', async () => {
    for (const id of ['hash', 'rpc']) expect(await page.inputValue(`#${id}`)).toBe('')
    await page.click('#verify')
    expect(await text('#result')).toContain('a bundle, a trust policy, a block hash')
  })

  test('proves every claim of a good bundle, says what it trusts, and asks nobody', async () => {
    await choose(files.bundle)
    const found = await verify()
    expect(found).toMatchObject(statuses(ALL, 'proved'))
    expect(await page.getAttribute('#result .banner', 'class')).toContain('yes')
    const all = await text('#result')
    for (const part of [block.hash, 'as you gave it', 'proof.example/log', 'What this answer trusts'])
      expect(all).toContain(part)
    expect(requests).toEqual([])
  })

  test('shows as not claimed what a smaller bundle leaves out', async () => {
    await choose(files.minimal)
    expect(await verify()).toMatchObject({
      ...statuses(ALL.slice(0, 4), 'proved'),
      ...statuses(ALL.slice(4), 'not-claimed'),
    })
    expect(await page.getAttribute('#result .banner', 'class')).toContain('yes')
  })

  test('says no to a bundle whose payload was changed, and why', async () => {
    await choose(files.tampered)
    expect(await verify()).toMatchObject({
      ...statuses(ALL.slice(0, 4), 'proved'),
      contributorSigned: 'failed',
      receiptSigned: 'proved',
    })
    expect(await page.getAttribute('#result .banner', 'class')).toContain('no')
    expect(await text('li[data-claim=contributorSigned]')).toContain('SHA-256 of the payload')
    expect(requests).toEqual([])
  })

  test('says no to a bundle whose entry was changed, and claims nothing on top of that', async () => {
    await choose(files.lied)
    expect(await verify()).toMatchObject({
      included: 'failed',
      anchored: 'not-claimed',
      appendOnly: 'not-claimed',
      receiptSigned: 'failed',
    })
    expect(await text('#result .banner')).toMatch(/^No: /)
  })

  test('proves nothing on the chain under another block hash', async () => {
    await choose(files.bundle, files.policy, toHex(fromHex(block.hash).map((byte) => byte ^ 1)))
    expect(await verify()).toMatchObject({ onChain: 'failed', anchored: 'failed' })
  })

  test('takes back its answer when something else is chosen', async () => {
    await choose(files.bundle)
    await verify()
    await page.setInputFiles('#bundle', files.tampered)
    expect(await page.isVisible('#result')).toBe(false)
  })

  test('refuses what is no bundle and no policy, and runs nothing that is in it', async () => {
    await choose(files.broken, files.bundle)
    expect(await text('#bundle-state')).toContain('cannot be used')
    expect(await text('#policy-state')).toContain('cannot be used')
    expect(await page.locator('img').count()).toBe(0)
    await page.click('#verify')
    expect(await text('#result')).toContain('Still needed')
  })

  test('asks the node that the user names, when asked to, and says that it trusts it', async () => {
    await choose(files.bundle, files.policy, '')
    await page.click('summary')
    await page.fill('#rpc', node.url)
    expect(requests).toEqual([])
    await page.click('#ask')
    await page.waitForSelector('#hash-state:has-text("you trust that node")')
    expect(await page.inputValue('#hash')).toBe(block.hash)
    expect(node.asked).toEqual(['eth_chainId', 'eth_getBlockByNumber'])
    expect(await verify()).toMatchObject(statuses(ALL, 'proved'))
    expect(await text('#result')).toContain(`as ${node.url} says it`)
    expect(new Set(requests)).toEqual(new Set([`${node.url}/`]))
  })

  test('takes no hash from a node of another chain, or one that does not know the block', async () => {
    await choose(files.bundle, files.policy, '')
    await page.click('summary')
    await page.fill('#rpc', node.url)
    node.chainId = '0x1'
    await page.click('#ask')
    await page.waitForSelector('#hash-state:has-text("another chain")')
    node.chainId = '0x7a69'
    node.hash = '0x12' as Hex
    await page.click('#ask')
    await page.waitForSelector('#hash-state:has-text("no block 300")')
    expect(await page.inputValue('#hash')).toBe('')
  })

  test('is the same file when it is opened from a disk', async () => {
    await page.close()
    const file = fileURLToPath(new URL('../../src/explorer/verify.html', import.meta.url))
    problems = await open(pathToFileURL(file).href)
    await choose(files.bundle)
    expect(await verify()).toMatchObject(statuses(ALL, 'proved'))
    expect(requests).toEqual([])
  })

  test('can be used with the keyboard, and every field has a name', async () => {
    for (const label of ['Block hash', 'JSON-RPC address'])
      expect(await page.getByLabel(label, { exact: true }).count()).toBe(1)
    expect(await page.getByLabel('Choose a bundle, or drop it here').count()).toBe(1)
    expect(await page.getByLabel('Choose a trust policy, or drop it here').count()).toBe(1)
    await choose(files.bundle)
    await page.focus('#hash')
    await page.keyboard.press('Enter')
    await page.waitForSelector('#result .banner.yes')
    expect(await page.evaluate('document.activeElement.id')).toBe('result')
  })

  test('takes files that are dropped on it', async () => {
    await page.evaluate(`for (const kind of ['bundle', 'policy']) {
      const data = new DataTransfer()
      data.items.add(new File(['{}'], kind + '.json'))
      document.getElementById(kind + '-zone').dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }))
    }`)
    await page.waitForSelector('#bundle-state:has-text("bundle.json")')
    await page.waitForSelector('#policy-state:has-text("policy.json")')
  })
})
