import { connect } from '../../src/graph/connect.ts'
import { startIndexer, type World } from './world.ts'

/**
 * The pipeline as a process of its own, to be killed: `node indexer-process.ts <database URL> <world as JSON>`. The world needs no
 * more than its RPC, deployment and payload host. Prints `leading` or `standby` whenever that changes.
 */
const [databaseUrl, world] = process.argv.slice(2) as [string, string]
const sql = await connect(databaseUrl, { max: 6 })
const indexer = startIndexer(JSON.parse(world) as World, sql, { rangeBlocks: 5 })
let said = ''
setInterval(() => {
  const is = indexer.pipeline.readiness().some((why) => /stands by/.test(why)) ? 'standby' : 'leading'
  if (is !== said) console.log(is)
  said = is
}, 20)
await indexer.running
