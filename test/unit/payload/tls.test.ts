import { generateKeyPairSync } from 'node:crypto'
import https from 'node:https'
import tls from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { selfSigned } from '../../support/certificate.ts'
import { fetcherFor, listenOn, PAYLOAD } from './servers.ts'

async function tlsServer(host: string) {
  const { privateKey } = generateKeyPairSync('ed25519')
  const cert = selfSigned(host, privateKey)
  const names: unknown[] = []
  const server = https.createServer(
    { key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert },
    (request, response) => {
      names.push((request.socket as tls.TLSSocket & { servername?: unknown }).servername)
      response.end(PAYLOAD)
    },
  )
  return { port: await listenOn(server), cert, names }
}

function trust(cert: string) {
  const before = tls.getCACertificates('default')
  tls.setDefaultCACertificates([...before, cert])
  onTestFinished(() => tls.setDefaultCACertificates(before))
}

const fetcher = (host: string, port: number) =>
  fetcherFor(
    [],
    { allowedPrivate: [`${host}:${port}`] },
    {
      resolve: async () => ['127.0.0.1'],
    },
  )

test('a certificate of the host by an authority that this system trusts', async () => {
  const { port, cert, names } = await tlsServer('tls.example')
  trust(cert)
  expect(await fetcher('tls.example', port)(`https://tls.example:${port}/`)).toEqual({
    kind: 'bytes',
    bytes: PAYLOAD,
  })
  expect(names).toEqual(['tls.example'])
})

test('a certificate that nobody vouches for, and one of another host', async () => {
  const { port, cert } = await tlsServer('tls.example')
  const ask = (host: string) => fetcher(host, port)(`https://${host}:${port}/`)
  expect(await ask('tls.example')).toEqual({
    kind: 'unavailable',
    what: 'tls',
    detail: 'TLS could not be agreed on (DEPTH_ZERO_SELF_SIGNED_CERT).',
    retryable: true,
  })
  trust(cert)
  expect(await ask('other.example')).toMatchObject({
    what: 'tls',
    detail: 'TLS could not be agreed on (ERR_TLS_CERT_ALTNAME_INVALID).',
  })
})
