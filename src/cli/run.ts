import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { SETTINGS, type SettingName } from '../core/config.ts'
import { DunesError } from '../core/error.ts'
import { type Action, act, failure, type Outcome, type Terminal, withSettings } from './command.ts'

/** An action whose module is loaded when it is first run: `dunes help` does not wait for a database driver. */
const lazy =
  (load: () => Promise<Action>): Action =>
  async (...call) =>
    (await load())(...call)

const addDataset = lazy(async () => (await import('./contribute.ts')).addDataset)
const retireDataset = lazy(async () => (await import('./contribute.ts')).retireDataset)
const listSensors = lazy(async () => (await import('./inspect.ts')).listSensors)
const addSensor = lazy(async () => (await import('./contribute.ts')).addSensor)
const attest = lazy(async () => (await import('./contribute.ts')).attest)
const keygen = lazy(async () => (await import('./contribute.ts')).keygen)
const backup = lazy(async () => (await import('./backup.ts')).backup)
const restore = lazy(async () => (await import('./restore.ts')).restore)
const register = lazy(async () => (await import('./contribute.ts')).register)
const rotate = lazy(async () => (await import('./contribute.ts')).rotate)
const submit = lazy(async () => (await import('./contribute.ts')).submit)
const index = lazy(async () => (await import('./daemon.ts')).index)
const migrateDatabase = lazy(async () => (await import('./daemon.ts')).migrateDatabase)
const serve = lazy(async () => (await import('./daemon.ts')).serve)
const start = lazy(async () => (await import('./daemon.ts')).start)
const dev = lazy(async () => (await import('./dev.ts')).dev)
const deploy = lazy(async () => (await import('./deploy.ts')).deploy)
const fsck = lazy(async () => (await import('./fsck.ts')).fsck)
const doctor = lazy(async () => (await import('./doctor.ts')).doctor)
const mamlInspect = lazy(async () => (await import('./inspect.ts')).mamlInspect)
const mamlSign = lazy(async () => (await import('./inspect.ts')).mamlSign)
const mamlVerify = lazy(async () => (await import('./inspect.ts')).mamlVerify)
const mcp = lazy(async () => (await import('./mcp.ts')).mcp)
const muCheck = lazy(async () => (await import('./inspect.ts')).muCheck)
const muMake = lazy(async () => (await import('./inspect.ts')).muMake)
const muRepair = lazy(async () => (await import('./inspect.ts')).muRepair)
const muShow = lazy(async () => (await import('./inspect.ts')).muShow)
const initKeys = lazy(async () => (await import('./keys.ts')).initKeys)
const rotateKeys = lazy(async () => (await import('./keys.ts')).rotateKeys)
const closeLog = lazy(async () => (await import('./log.ts')).closeLog)
const listKeys = lazy(async () => (await import('./keys.ts')).listKeys)
const exportLog = lazy(async () => (await import('./mirror.ts')).exportLog)
const mirror = lazy(async () => (await import('./mirror.ts')).mirror)
const explain = lazy(async () => (await import('./prove.ts')).explain)
const recheck = lazy(async () => (await import('./recheck.ts')).recheck)
const prove = lazy(async () => (await import('./prove.ts')).prove)
const status = lazy(async () => (await import('./prove.ts')).status)
const verify = lazy(async () => (await import('./prove.ts')).verify)

/** Version of the program, from its package.json. */
const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version

/** Runs one command line and answers its exit code: 0 ok, 1 verification says no, 2 usage or config, 3 unreachable. */
export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  const outcome: Outcome = { code: 0 }
  // With --json an error is one line of JSON, and commander's own words are not printed.
  const json = argv.includes('--json')
  const program = build(terminal, outcome, json ? () => {} : terminal.note)
  try {
    await program.parseAsync(argv as string[], { from: 'user' })
    return outcome.code
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0
      if (json) terminal.note(failure(usageError(error), json).text)
      return 2
    }
    const { text, code } = failure(error, json)
    terminal.note(text)
    return code
  }
}

/** What is wrong with a command line, in the words of the parser. */
const usageError = ({ message }: CommanderError): DunesError =>
  new DunesError(
    'USAGE',
    message.replace(/^error: /, '').replace(/^\(outputHelp\)$/, 'a command is missing'),
    {
      hint: '`dunes help` lists the commands',
    },
  )

function build(terminal: Terminal, outcome: Outcome, note: Terminal['note']): Command {
  const program = new Command('dunes')
    .description(
      'Makes sensor data provable: receipts in an anchored, append-only log, and proofs that anyone can check offline.',
    )
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError('(dunes help lists the commands)')
    .configureOutput({ writeOut: terminal.out, writeErr: note })
  const storage = ['dataDir'] as const
  const chain = [
    'rpcUrls',
    'rpcPerSecond',
    'rpcInFlight',
    'chainId',
    'registry',
    'anchor',
    'startBlock',
    'confirmations',
    'pollMs',
  ] as const
  const http = ['host', 'port', 'allowedHosts', 'allowedOrigins'] as const
  const indexing = [
    'wsUrl',
    'recheckSeconds',
    'anchorEveryLeaves',
    'anchorEverySeconds',
    'anchorStuckSeconds',
    'allowedPrivate',
    'allowFile',
    'ipfsGateways',
    'changesKept',
  ] as const

  const command = (
    parent: Command,
    name: string,
    text: string,
    action: Action,
    settings: readonly SettingName[] = [],
    devnet = true,
  ) =>
    act(
      withSettings(parent.command(name).description(text).exitOverride(), ...settings).showHelpAfterError(
        `(dunes ${parent === program ? '' : `${parent.name()} `}${name.split(' ')[0]} --help says how)`,
      ),
      terminal,
      outcome,
      action,
      devnet,
    )
  const add = (name: string, text: string, action: Action, settings: readonly SettingName[] = []) =>
    command(program, name, text, action, [...storage, ...settings])
  const group = (name: string, text: string) => program.command(name).description(text).exitOverride()
  const asContributor = (cmd: Command) =>
    cmd
      .option(
        '--account-key <file>',
        'key file of the account that pays (DUNES_ACCOUNT_KEY, DUNES_ACCOUNT_KEY_FILE)',
      )
      .option(
        '--signing-key <file>',
        'key file that signs payloads (DUNES_SIGNING_KEY, DUNES_SIGNING_KEY_FILE)',
      )
  const asAdmin = (cmd: Command) =>
    cmd.option(
      '--admin-key <file>',
      "key file of the contracts' administrator (DUNES_ADMIN_KEY, DUNES_ADMIN_KEY_FILE)",
    )
  const asTransaction = (cmd: Command) =>
    asContributor(cmd).option('--dry-run', 'print the transaction and what it would cost, and send nothing')
  const toFile = (cmd: Command, text: string) => cmd.option('-o, --output <file>', text)
  const account = ['rpcUrls', 'chainId', 'registry'] as const

  command(
    program,
    'dev',
    'run a whole devnet: chain, contracts, database, indexer, API and a simulated fleet',
    dev,
    [...storage, ...http, 'anvilPort', 'fleetPort', 'logLevel'],
    false,
  ).option('--fresh', 'remove the old devnet first; keys are kept')
  add('start', 'index and serve a deployment (production)', start, [
    ...chain,
    ...indexing,
    ...http,
    'logLevel',
  ])
  add('index', 'index and anchor a deployment, without the API', index, [...chain, ...indexing, 'logLevel'])
    .option('--dry-run', 'read a range of blocks, say what would be written, and touch no database')
    .option('--from <block>', 'with --dry-run: the first block; left out, startBlock')
    .option('--to <block>', 'with --dry-run: the last block; left out, the newest')
  add('serve', 'serve the API over a database that others index', serve, [...chain, ...http, 'logLevel'])
  add('mcp', 'serve AI clients on standard input and output (Model Context Protocol)', mcp, [
    ...chain,
    'logLevel',
  ])
  add('migrate', 'bring a database up to date', migrateDatabase).option(
    '--query-role',
    'also make the role that queries run as, with a password of its own',
  )
  add('doctor', 'look at everything that a deployment depends on and say what to do', doctor, [
    ...chain,
    'apiUrl',
  ])
  add('fsck', 'rebuild every leaf, tile, checkpoint and anchor, and name the first difference', fsck, [
    ...chain,
    'allowedPrivate',
    'allowFile',
    'ipfsGateways',
    'apiUrl',
  ])
    .option('--from-chain', 'trust nothing local: read the chain and the payloads anew')
    .option(
      '--log <url>',
      'with --from-chain: the published log to compare with; left out, the database, or the API',
    )
    .option('--policy <file>', "trust policy with the keys; left out, that of this folder's deployment")
    .option('--restart', 'begin anew where an earlier run was interrupted')
  add('status', 'show how far everything is', status, ['apiUrl']).option('--watch', 'keep showing it')

  command(program, 'keygen [folder]', "make a contributor's two key files: account and signing key", keygen, [
    ...storage,
    'chainId',
  ])
  asTransaction(
    add('register', 'register the signing key on-chain, with its proof of possession', register, account),
  )
  asTransaction(add('rotate', 'replace the registered key by another signing key', rotate, account))
  const sensor = group('sensor', 'sensors')
  command(sensor, 'list', 'list registered sensors, newest first', listSensors, [...storage, 'apiUrl'])
    .option('--dataset <name>', 'only those of this dataset')
    .option('--limit <n>', 'at most so many (50)')
  asTransaction(command(sensor, 'add <name>', 'register a sensor', addSensor, [...storage, ...account]))
    .requiredOption('--dataset <name>', 'dataset that its readings belong to')
    .option('--h3 <cell>', 'H3 cell index in hex; left out, the place is not told')
  const dataset = group('dataset', 'datasets and their schemas')
  asTransaction(
    command(dataset, 'add <file>', 'register the dataset of a schema file (.maml.md)', addDataset, [
      ...storage,
      ...account,
    ]),
  ).option('--update', 'append a version to a dataset that is registered')
  asTransaction(
    command(
      dataset,
      'retire <name>',
      'let a dataset take no further readings; `add --update` takes it up again',
      retireDataset,
      [...storage, ...account],
    ),
  )
  asTransaction(
    add('submit <file>', 'sign a reading (JSON or .maml.md) and submit it', submit, [...account, 'apiUrl']),
  )
    .option('--sensor <name>', 'sensor that measured it')
    .option('--uri <uri>', "where its owner hosts the payload; left out, it is put on the indexer's store")
    .option('--wait', 'wait until it is anchored; exit code 1 when it is rejected')
  asTransaction(
    add('attest <id>', "attest to another contributor's submission (validators)", attest, account),
  ).option('--reject', 'attest that it is not valid')
  asContributor(
    add('deploy', 'deploy the contracts on a chain of your own', deploy, [
      'rpcUrls',
      'chainId',
      'startBlock',
    ]),
  )
    .requiredOption('--origin <name>', "the log's name, such as example.org/dunes: for ever, in every proof")
    .option('--validators <addresses>', 'accounts admitted as validators from the start, separated by commas')
    .option(
      '--admin <address>',
      'who may admit validators, rotate and pause; the deploying account unless told',
    )
    .option(
      '--successor-of <anchor>',
      'deploy only a new log over the registry of this one, to go on after it',
    )
    .option(
      '--size <n>',
      'with --successor-of: leaves up to which that log was good; left out, all that are anchored',
    )
    .option('--root <hash>', 'with --successor-of: its root at that size')
    .option('--quorum <n>', 'attestations of one side that settle a submission', '3')
    .option('--ttl <blocks>', 'blocks after which a submission that nobody settled expires', '7200')
    .option('--epoch-seconds <n>', 'length of an epoch', '86400')
  const log = group('log', 'the log on-chain')
  asAdmin(
    command(log, 'close', 'end a log for good, and name the one that goes on', closeLog, [
      ...storage,
      'rpcUrls',
      'chainId',
      'anchor',
    ]),
  )
    .option('--successor <address>', 'the contract that `dunes deploy --successor-of` made')
    .option('--no-successor', 'end it without one')
    .option('--size <n>', 'leaves up to which the log was good; left out, all that are anchored')
    .option('--root <hash>', 'its root at that size; needed below the anchored size')
  const keys = group('keys', 'keys of the indexer, one for each role')
  command(keys, 'init', 'make the keys that are missing', initKeys, storage)
  command(keys, 'list', 'list roles, files and public keys, and those that were replaced', listKeys, storage)
  asAdmin(
    command(
      keys,
      'rotate <role>',
      'replace the key of a role (receipt, checkpoint-ed25519, checkpoint-ml-dsa-44, anchor) and keep the old one',
      rotateKeys,
      [...storage, 'rpcUrls', 'chainId', 'anchor'],
    ),
  )

  const maml = group('maml', 'MAML payloads')
  toFile(
    asContributor(command(maml, 'sign <file>', 'sign a payload', mamlSign, storage)),
    'where to write it',
  ).option('--force', 'replace a signature that is there')
  asContributor(
    command(maml, 'verify <file>', 'verify the signature of a payload', mamlVerify, storage),
  ).option('--key <file>', 'public key, raw or hex; left out, that of our own signing key')
  command(maml, 'inspect <file>', 'parse a payload and show what it holds', mamlInspect, storage).option(
    '--schema <file>',
    'schema file to hold its readings against',
  )
  const mu = group('mu', '.mu receipts')
  toFile(
    command(
      mu,
      'make <id-or-entry> [payload]',
      'make a whole receipt: from the API by id, or from an entry and its payload',
      muMake,
      [...storage, 'apiUrl'],
    ),
    'where to write it',
  )
  command(
    mu,
    'check <payload> <receipt>',
    'locate every difference between a payload and its receipt',
    muCheck,
    storage,
  )
  toFile(
    command(
      mu,
      'repair <payload> <receipt>',
      'restore a damaged payload from the mirror in its receipt',
      muRepair,
      storage,
    ),
    'where to write it; left out, the damaged file is replaced',
  ).option('--receipt', "restore the receipt's mirror from the payload instead")
  command(mu, 'show <receipt>', 'show what a receipt says', muShow, storage).option(
    '--key <file>',
    'receipt key to verify its signature by',
  )

  toFile(
    add(
      'prove [ids...]',
      "fetch the bundle that proves a submission, several, or a contributor's whole history",
      prove,
      ['apiUrl'],
    ),
    'where to write it',
  )
    .option('--latest', 'prove the newest accepted submission that is anchored')
    .option('--contributor <id>', 'prove instead that nothing settled of this account is left out')
    .option('--from <seq>', 'with --contributor: the first of its settled submissions, from 0')
    .option('--to <seq>', 'with --contributor: the last of its settled submissions')
    .option('--event', 'with the event of the first anchor that covers it, which tells the exact time')
    .option('--minimal', 'without payload, key, possession and receipt signature')
    .option('--wait', 'wait until it is anchored')
  add('verify <bundle>', 'verify a bundle offline against a trust policy and a block hash', verify)
    .option('--policy <file>', "trust policy; left out, that of this folder's deployment")
    .option('--block-hash <hash>', 'hash of the block that the bundle is proved under')
    .option('--rpc <url>', 'node to ask for that hash; it is trusted for it')
    .option('--require <claims>', 'further claims that must be proved, separated by commas')
    .option('--explain', 'say of each claim what it shows')
  add(
    'recheck <id>',
    'read a submission again from chain and host and compare it with the database',
    recheck,
    [...chain, 'allowedPrivate', 'allowFile', 'ipfsGateways'],
  )
  add('explain <id>', "walk a submission's way from event to anchor in plain words", explain, ['apiUrl'])
  add(
    'export <folder>',
    'write the whole log as files that any file server can host',
    exportLog,
    chain,
  ).option('--recheck', 'look at every file again, not only at what is new')
  add(
    'backup <folder>',
    'write what cannot be made again from the chain: log, statements, payloads, signatures',
    backup,
    ['rpcUrls', 'chainId'],
  )
    .option('--with-keys', "copy the indexer's keys, too; left out, none leaves its place")
    .option('--recheck', 'look at every file again, not only at what is new')
  add('restore <folder>', 'bring back a backup, an export or a mirror, once all of it is verified', restore, [
    'rpcUrls',
    'chainId',
  ])
    .option('--policy <file>', "trust policy; left out, that of this folder's deployment")
    .option('--dry-run', 'verify everything and change nothing; the indexer must be stopped for this, too')
    .option('--payloads-only', 'take the payloads alone: for a successor, whose leaves are its own')
  add('mirror <url> <folder>', 'follow a log from its address, check all of it, and keep it as files', mirror)
    .option('--policy <file>', "trust policy; left out, that of this folder's deployment")
    .option('--vkeys <file>', 'verifier keys instead of a policy, one a line')
    .option('--origin <name>', "the log's origin, with --vkeys; left out, the first key's name")
    .option('--ahead <seconds>', "how far a signer's clock may be ahead of ours (300)")
    .option('--recheck', 'look at every file again, not only at what is new')
    .option('--watch', 'keep following')
    .option('--every <seconds>', 'seconds between two looks with --watch (10)')
  program
    .command('settings')
    .description('list every setting, its flag and its environment variable')
    .action(() => {
      for (const { name, flag, env, description } of SETTINGS) {
        const secret = env === 'DATABASE_URL' || name === 'apiDatabaseUrl' || name === 'queryDatabaseUrl'
        terminal.out(`${name}\n  ${secret ? env : `${flag} or ${env}`}\n  ${description}\n`)
      }
    })
  return program
}
