import { createConfig } from 'ponder'
import { parseAbi } from 'viem'

const urls = (process.env.BENCH_RPC_URLS ?? '').split(',')

export default createConfig({
  // By itself Ponder keeps to 20 requests a second of each address at first; several addresses of one server lift that.
  chains: { bench: { id: 31337, rpc: urls.length === 1 ? urls[0] : urls } },
  database: { kind: 'postgres', connectionString: process.env.DATABASE_URL },
  contracts: {
    Registry: {
      chain: 'bench',
      abi: parseAbi([
        'event Submitted(bytes32 indexed id, address indexed contributor, uint64 nonce, string sensor, string dataset, bytes32 schemaSha256, bytes32 payloadHash, uint64 payloadBytes, string uri, bytes32 keyId, uint32 quorum)',
        'event Attested(bytes32 indexed id, address indexed validator, bool valid)',
        'event SubmissionSettled(bytes32 indexed id, address indexed contributor, uint64 index, uint64 seq, uint8 outcome, bytes32 record, bytes32 acc)',
      ]),
      address: process.env.BENCH_REGISTRY as `0x${string}`,
      startBlock: 1,
      endBlock: Number(process.env.BENCH_END_BLOCK),
    },
  },
})
