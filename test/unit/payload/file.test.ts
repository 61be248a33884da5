import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { utf8 } from '../../../src/core/bytes.ts'
import { fetcherFor, PAYLOAD } from './servers.ts'

const OUTSIDE = 'The file is not below a folder that is allowed.'
let base = ''
let root = ''

beforeAll(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), 'payload-file-')))
  root = join(base, 'root')
  await mkdir(join(root, 'a folder'), { recursive: true })
  await mkdir(join(base, 'root-beside'))
  await writeFile(join(root, 'good'), PAYLOAD)
  await writeFile(join(root, 'a folder', 'gööd'), PAYLOAD)
  await writeFile(join(root, 'long'), Buffer.concat([PAYLOAD, utf8('x')]))
  await writeFile(join(root, 'short'), PAYLOAD.subarray(1))
  await writeFile(join(root, 'wrong'), PAYLOAD.slice().reverse())
  await writeFile(join(base, 'secret'), PAYLOAD)
  await writeFile(join(base, 'root-beside', 'secret'), PAYLOAD)
  await symlink('good', join(root, 'link-inside'))
  await symlink('../secret', join(root, 'link-out'))
  await symlink('..', join(root, 'folder-out'))
  await symlink('nowhere', join(root, 'dangling'))
  await symlink(root, join(base, 'root-link'))
  execFileSync('mkfifo', [join(root, 'pipe')])
})
afterAll(() => rm(base, { recursive: true, force: true }))

const read = (path: string, allowFile = [root]) => fetcherFor([], { allowFile })(`file://${path}`)
const not = (what: string, detail: string, retryable: boolean) => ({
  kind: 'unavailable',
  what,
  detail,
  retryable,
})
const got = { kind: 'bytes', bytes: PAYLOAD }

test('files below an allowed folder are read, also by links that stay inside and by encoded names', async () => {
  expect(await read(`${root}/good`)).toEqual(got)
  expect(await read(`localhost${root}/good`)).toEqual(got)
  expect(await read(`${root}/link-inside`)).toEqual(got)
  expect(await read(`${root}/a%20folder/g%C3%B6%c3%b6d`)).toEqual(got)
  expect(await read(`${root}/a%20folder/../good`)).toEqual(got)
  expect(await fetcherFor([], { allowFile: [root] })(`file:${root}/good#x`)).toEqual(got)
  // The allowed folder may itself be named by a link.
  expect(await read(`${base}/root-link/good`, [join(base, 'root-link')])).toEqual(got)
  expect(await read(`${root}/good`, [join(base, 'none'), `${root}/`])).toEqual(got)
})

test('off by default, and this host only', async () => {
  expect(await read(`${root}/good`, [])).toEqual(not('not-allowed', 'file URIs are turned off here.', false))
  expect(await read(`other.example${root}/good`)).toEqual(
    not('not-allowed', 'The file URI names another host.', false),
  )
})

test.each([
  '/link-out',
  '/folder-out/secret',
  '/../secret',
  '/%2e%2e/secret',
  '/../root-beside/secret',
  '/..',
  '',
])('no way out: root%s', async (path) => {
  expect(await read(`${root}${path}`)).toEqual(not('not-allowed', OUTSIDE, false))
})

test('outside, what exists and what does not look the same', async () => {
  const missing = await read(`${root}/../no-such-file`)
  expect(missing).toEqual(not('not-allowed', OUTSIDE, false))
  expect(missing).toEqual(await read(`${root}/../secret`))
  expect(await read('/etc/passwd')).toEqual(missing)
})

test('an encoded slash, a NUL or bytes that are not UTF-8 are no path', async () => {
  for (const path of ['/a%2fb', '/good%00', '/%ff'])
    expect(await read(`${root}${path}`)).toEqual(
      not('not-allowed', 'The path decodes to something that is no path.', false),
    )
})

test('what is missing may come', async () => {
  const missing = not('missing', 'There is no such file that can be read.', true)
  for (const path of ['/none', '/dangling', '/good/below', '/none/../none'])
    expect(await read(`${root}${path}`)).toEqual(missing)
})

test('regular files only; a pipe does not block', async () => {
  const irregular = not('not-allowed', 'The path does not name a regular file.', false)
  expect(await read(`${root}/pipe`)).toEqual(irregular)
  expect(await read(`${root}/a%20folder`)).toEqual(irregular)
  expect(await read('/dev/zero', ['/dev'])).toEqual(irregular)
})

test('wrong lengths and wrong bytes', async () => {
  expect(await read(`${root}/long`)).toEqual(not('too-long', 'The file has more than 40 bytes.', true))
  expect(await read(`${root}/short`)).toEqual(not('too-short', 'The file has fewer than 40 bytes.', true))
  expect(await read(`${root}/wrong`)).toEqual(not('hash', 'The bytes do not have the submitted hash.', true))
})
