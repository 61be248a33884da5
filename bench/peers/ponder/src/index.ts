import { ponder } from 'ponder:registry'
import { attestation, submission } from 'ponder:schema'

ponder.on('Registry:Submitted', async ({ event, context }) => {
  const { args, block, transaction, log } = event
  await context.db.insert(submission).values({
    ...args,
    submittedBlock: block.number,
    submittedLog: log.logIndex,
    submittedTx: transaction.hash,
    submittedTime: block.timestamp,
  })
})

ponder.on('Registry:Attested', async ({ event, context }) => {
  const { args, block, transaction, log } = event
  await context.db.insert(attestation).values({
    submission: args.id,
    validator: args.validator,
    valid: args.valid,
    block: block.number,
    logIndex: log.logIndex,
    tx: transaction.hash,
  })
})

ponder.on('Registry:SubmissionSettled', async ({ event, context }) => {
  const { args, block, transaction, log } = event
  const { index, seq, outcome, record, acc } = args
  await context.db.update(submission, { id: args.id }).set({
    index,
    seq,
    outcome,
    record,
    acc,
    settledBlock: block.number,
    settledHash: block.hash,
    settledLog: log.logIndex,
    settledTx: transaction.hash,
    settledTime: block.timestamp,
  })
})
