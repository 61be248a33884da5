/** A parsed key of Node's, opaque here. */
export type NodeKey = { readonly __nodeKey: never }

/** The few functions of `node:crypto` that the pure folders take where there is a Node. */
export interface NodeCrypto {
  /** Newer than some Nodes that this can run on. */
  hash?(algorithm: 'sha256', data: Uint8Array, encoding: 'binary'): string
  createPublicKey(key: { key: Uint8Array; format: 'der'; type: 'spki' }): NodeKey
  createPrivateKey(key: { key: Uint8Array; format: 'der'; type: 'pkcs8' }): NodeKey
  sign(algorithm: null, data: Uint8Array, key: NodeKey): Uint8Array
  verify(algorithm: null, data: Uint8Array, key: NodeKey, signature: Uint8Array): boolean
}

interface Global {
  process?: { getBuiltinModule?(name: 'node:crypto'): NodeCrypto | undefined }
}

/** Node's own cryptography, undefined in a browser. Looked up and not imported, so that what uses it also runs in one. */
export const nodeCrypto: NodeCrypto | undefined = (globalThis as Global).process?.getBuiltinModule?.(
  'node:crypto',
)
