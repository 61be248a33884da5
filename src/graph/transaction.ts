import type postgres from 'postgres'

type Begin = postgres.Sql<{ bigint: bigint }>['begin']
type Work = (tx: postgres.TransactionSql<{ bigint: bigint }>) => unknown

/**
 * `begin` that survives the loss of its connection. The driver rejects the transaction then, but goes on sending what its function
 * asks for, and the final commit or rollback: to a socket that is gone, which ends the process, or to a new session of the same
 * connection, where the rest of the transaction would take effect without its beginning. Here nothing is sent any more.
 */
export function guardedBegin(begin: Begin): Begin {
  const guarded = (options: string | Work, work?: Work): Promise<unknown> => {
    const [how, run] = typeof options === 'string' ? [options, work as Work] : ['', options]
    let lost: { error: unknown } | null = null
    const outcome = begin(
      how,
      (tx) =>
        // Never settles once the connection is lost: the driver would send its last word.
        new Promise((resolve, reject) => {
          const guardedTx = new Proxy(tx, {
            apply: (target, self, args) => {
              if (lost) throw lost.error
              return Reflect.apply(target, self, args)
            },
            get: (target, name, receiver) => {
              if (lost && (name === 'unsafe' || name === 'savepoint')) throw lost.error
              return Reflect.get(target, name, receiver)
            },
          })
          // Later than this turn of the event loop: the query in flight fails a moment before the transaction does.
          const settle = (how: () => void) => setImmediate(() => lost || how())
          Promise.resolve()
            .then(() => run(guardedTx))
            .then(
              (value) => lost || resolve(value),
              (error: unknown) => settle(() => reject(error)),
            )
        }),
    )
    outcome.catch((error: unknown) => {
      lost = { error }
    })
    return outcome
  }
  return guarded as Begin
}
