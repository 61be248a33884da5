import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Every metric of the indexer and the API, in one registry that is passed in and never global. */
export interface Metrics {
  registry: Registry
  blocks: Counter
  events: Counter
  rollbacks: Counter
  judged: Counter<'verdict' | 'reason'>
  judgeSeconds: Histogram
  fetches: Counter<'outcome'>
  leaves: Counter
  anchors: Counter<'outcome'>
  height: Gauge<'stage'>
  logSize: Gauge<'stage'>
  submissions: Gauge<'state'>
  requests: Histogram<'route' | 'method' | 'status'>
  followers: Gauge
  rpcCalls: Counter<'endpoint' | 'outcome'>
  rpcSeconds: Histogram<'endpoint'>
  rpcUp: Gauge<'endpoint'>
  rpcScore: Gauge<'endpoint'>
  rpcLeft: Gauge<'endpoint'>
  rpcInFlight: Gauge<'endpoint'>
  rpcHead: Gauge<'endpoint'>
  lag: Gauge<'unit'>
  queues: Gauge<'queue'>
  splits: Counter
  rechecks: Counter<'outcome'>
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  return {
    registry,
    blocks: new Counter({
      name: 'dunes_blocks_applied_total',
      help: 'Blocks applied to the graph',
      registers,
    }),
    events: new Counter({
      name: 'dunes_events_applied_total',
      help: 'Chain events applied to the graph',
      registers,
    }),
    rollbacks: new Counter({
      name: 'dunes_rollbacks_total',
      help: 'Reorganisations that were rolled back',
      registers,
    }),
    judged: new Counter({
      name: 'dunes_submissions_judged_total',
      help: 'Settled submissions judged, by verdict and reason',
      labelNames: ['verdict', 'reason'],
      registers,
    }),
    judgeSeconds: new Histogram({
      name: 'dunes_judge_seconds',
      help: 'Seconds to hash, parse and verify one payload',
      buckets: [0.0005, 0.001, 0.002, 0.004, 0.0074, 0.015, 0.03, 0.1, 0.25, 1],
      registers,
    }),
    fetches: new Counter({
      name: 'dunes_payload_fetches_total',
      help: 'Payload fetches, by outcome',
      labelNames: ['outcome'],
      registers,
    }),
    leaves: new Counter({ name: 'dunes_leaves_logged_total', help: 'Leaves added to the log', registers }),
    anchors: new Counter({
      name: 'dunes_anchor_transactions_total',
      help: 'Anchor transactions, by outcome',
      labelNames: ['outcome'],
      registers,
    }),
    height: new Gauge({
      name: 'dunes_block_height',
      help: 'Block numbers: head of the chain, indexed, final',
      labelNames: ['stage'],
      registers,
    }),
    logSize: new Gauge({
      name: 'dunes_log_size',
      help: 'Submissions by index: settled, logged, anchored',
      labelNames: ['stage'],
      registers,
    }),
    followers: new Gauge({
      name: 'dunes_change_followers',
      help: 'Clients that follow the changes now',
      registers,
    }),
    rpcCalls: new Counter({
      name: 'dunes_rpc_calls_total',
      help: 'Calls to chain endpoints, by outcome: ok or the error code',
      labelNames: ['endpoint', 'outcome'],
      registers,
    }),
    rpcSeconds: new Histogram({
      name: 'dunes_rpc_request_seconds',
      help: 'Seconds of a request to a chain endpoint',
      labelNames: ['endpoint'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    rpcUp: new Gauge({
      name: 'dunes_rpc_endpoint_up',
      help: '1 while an endpoint is in use, 0.5 while it is tried again, 0 while it is left alone',
      labelNames: ['endpoint'],
      registers,
    }),
    rpcScore: new Gauge({
      name: 'dunes_rpc_endpoint_score',
      help: 'Health of an endpoint, 0 to 100',
      labelNames: ['endpoint'],
      registers,
    }),
    rpcLeft: new Gauge({
      name: 'dunes_rpc_budget_left',
      help: 'Calls left in this second; absent without a limit',
      labelNames: ['endpoint'],
      registers,
    }),
    rpcInFlight: new Gauge({
      name: 'dunes_rpc_in_flight',
      help: 'Requests under way to an endpoint',
      labelNames: ['endpoint'],
      registers,
    }),
    rpcHead: new Gauge({
      name: 'dunes_rpc_endpoint_head',
      help: 'Newest block of an endpoint when it was last asked',
      labelNames: ['endpoint'],
      registers,
    }),
    lag: new Gauge({
      name: 'dunes_chain_lag',
      help: 'How far the index is behind the head, in blocks and in seconds between their times',
      labelNames: ['unit'],
      registers,
    }),
    queues: new Gauge({
      name: 'dunes_queue_depth',
      help: 'What waits: payloads being sought, and bytes held for their verdict',
      labelNames: ['queue'],
      registers,
    }),
    splits: new Counter({
      name: 'dunes_range_splits_total',
      help: 'Block ranges that an endpoint refused and that were halved',
      registers,
    }),
    rechecks: new Counter({
      name: 'dunes_rechecks_total',
      help: 'Final ranges read again: same, refuted (the endpoint was wrong), unresolved, failed',
      labelNames: ['outcome'],
      registers,
    }),
    submissions: new Gauge({
      name: 'dunes_submissions',
      help: 'Submissions as the status counts them, when asked; absent before a block was indexed',
      labelNames: ['state'],
      registers,
    }),
    requests: new Histogram({
      name: 'dunes_http_request_seconds',
      help: 'Seconds to answer an HTTP request',
      labelNames: ['route', 'method', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    }),
  }
}
