// node-postgres through the three ports of pgherd. Where to connect comes from the environment, see ../README.md.
import { createRequire } from 'node:module'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'

// The modules are installed beside the build's other products, not beside this file.
const require = createRequire(process.env.PGHERD_NODE_MODULES + '/')
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const copy = require('pg-copy-streams')

const CLIENTS = 10
const BIG = 'x'.repeat(2_000_000)
const env = process.env
const target = (which, more = {}) => ({
  host: env.PGHERD_HOST,
  port: Number(env[`PGHERD_${which}_PORT`]),
  user: env.PGHERD_USER,
  password: env.PGHERD_PASSWORD,
  database: env.PGHERD_DATABASE,
  connectionTimeoutMillis: 20_000,
  ...more,
})

const ok = (what) => console.log(`ok    ${what}`)
const fail = (what) => { throw new Error(what) }
const expect = (what, got, wanted) => {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)]
  a === b ? ok(what) : fail(`${what}: wanted ${b.slice(0, 200)}, got ${String(a).slice(0, 200)}`)
}
const refuses = async (what, code, action) => {
  try { await action() } catch (error) { return expect(what, error.code ?? error.message, code) }
  fail(`${what}: nothing was refused`)
}
const one = async (c, text, values) => Object.values((await c.query(text, values)).rows[0])[0]
const within = async (which, use, more) => {
  const c = new Client(target(which, more))
  await c.connect()
  try { return await use(c) } finally { await c.end() }
}

async function transactions(c) {
  await c.query('BEGIN')
  await c.query('INSERT INTO smoke_node VALUES ($1, $2)', [10, 'kept'])
  await c.query('COMMIT')
  await c.query('BEGIN')
  await c.query('INSERT INTO smoke_node VALUES ($1, $2)', [11, 'gone'])
  await c.query('ROLLBACK')
  expect('primary: commit and rollback', await one(c, 'SELECT count(*)::int FROM smoke_node WHERE id IN (10, 11)'), 1)
  await c.query('BEGIN')
  await refuses('primary: an error in a transaction', '22012', () => c.query('SELECT 1/$1::int', [0]))
  await refuses('primary: which stays failed', '25P02', () => c.query('SELECT 1'))
  await c.query('ROLLBACK')
  expect('primary: and goes on after ROLLBACK', await one(c, 'SELECT 6'), 6)
}

async function cursorsAndCopy(c) {
  await c.query('BEGIN')
  const cursor = c.query(new Cursor('SELECT n FROM generate_series(1, $1::int) n', [1000]))
  let total = 0
  for (let rows = await cursor.read(100); rows.length; rows = await cursor.read(100)) {
    for (const row of rows) total += row.n
  }
  await cursor.close()
  await c.query('COMMIT')
  expect('primary: a portal read in parts', total, 500_500)
  const lines = Array.from({ length: 5000 }, (_, n) => `${n + 1000}\trow ${n}\n`)
  await pipeline(Readable.from(lines), c.query(copy.from('COPY smoke_node FROM STDIN')))
  let bytes = ''
  const out = c.query(copy.to('COPY (SELECT id FROM smoke_node WHERE id >= 1000) TO STDOUT'))
  for await (const chunk of out) bytes += chunk
  expect('primary: COPY in and out, 5000 rows', bytes.split('\n').length - 1, 5000)
  await refuses('primary: COPY of nonsense', '22P02', () =>
    pipeline(Readable.from(['a\tb\n']), c.query(copy.from('COPY smoke_node FROM STDIN'))))
  await c.query('INSERT INTO smoke_node VALUES (20, $1)', [BIG])
  expect('primary: a value of 2 MB there and back', await one(c, 'SELECT body FROM smoke_node WHERE id = 20'), BIG)
}

async function cancel(c) {
  // node-postgres has no public cancel: this sends the CancelRequest its own connection class knows how to make.
  const began = Date.now()
  const sleeping = refuses('primary: cancel', '57014', () => c.query('SELECT pg_sleep(60)'))
  await new Promise((done) => setTimeout(done, 1000))
  const Connection = require('pg').Connection
  const messenger = new Connection({ stream: undefined })
  messenger.on('connect', () => messenger.cancel(c.processID, c.secretKey))
  messenger.on('error', () => {})
  messenger.connect(Number(env.PGHERD_PRIMARY_PORT), env.PGHERD_HOST)
  await sleeping
  messenger.stream.destroy()
  expect('primary: cancel is quick', Date.now() - began < 20_000, true)
  expect('primary: the connection lives on', await one(c, 'SELECT 7'), 7)
}

async function concurrency(c) {
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => within('PRIMARY', async (client) => {
    for (let n = 0; n < 20; n++) {
      const shared = await client.query({ name: 'shared', text: 'SELECT $1::int + 1 AS v', values: [n] })
      if (shared.rows[0].v !== n + 1) fail('the shared statement answered wrongly')
      // The same name on every client for a different text.
      const own = await client.query({ name: 'own', text: `SELECT ${number} * $1::int AS v`, values: [n] })
      if (own.rows[0].v !== number * n) fail('the own statement answered wrongly')
      if (n % 5 === 0) {
        await client.query('BEGIN')
        await client.query('SELECT pg_sleep(0.01)')
        await client.query("INSERT INTO smoke_node VALUES ($1, 'concurrent')", [100_000 + 1000 * number + n])
        await client.query('COMMIT')
      }
    }
    const name = await one(client, 'SHOW application_name')
    if (name !== `smoke_node_${number}`) fail(`another client's application_name: ${name}`)
  }, { application_name: `smoke_node_${number}` })))
  ok(`primary: prepared statements of ${CLIENTS} clients at once`)
  const rows = await one(c, 'SELECT count(*)::int FROM smoke_node WHERE id >= 100000')
  expect('primary: each of their rows', rows, CLIENTS * 4)
}

await within('PRIMARY', async (c) => {
  await c.query('DROP TABLE IF EXISTS smoke_node')
  await c.query('CREATE TABLE smoke_node (id int PRIMARY KEY, body text)')
  await c.query('INSERT INTO smoke_node VALUES ($1, $2)', [1, 'one'])
  expect('primary: two statements in one query', (await c.query('SELECT 1 AS a; SELECT 2 AS b')).map((r) => r.rows[0]), [{ a: 1 }, { b: 2 }])
  await transactions(c)
  await cursorsAndCopy(c)
  await cancel(c)
  await concurrency(c)
  const pool = new Pool(target('PRIMARY', { max: CLIENTS }))
  const pooled = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.query('SELECT $1::int AS v', [n])))
  await pool.end()
  expect("primary: node-postgres's own pool, 50 queries", pooled.map((r) => r.rows[0].v), Array.from({ length: 50 }, (_, n) => n))
  // All queued at once: node-postgres sends each when the one before has answered.
  const got = await Promise.all(Array.from({ length: 50 }, (_, n) => one(c, 'SELECT $1::int', [n])))
  expect('primary: 50 queued queries', got, Array.from({ length: 50 }, (_, n) => n))
})

await within('REPLICAS', async (c) => {
  let seen
  for (let n = 0; n < 100 && seen !== 2; n++) {
    seen = await one(c, 'SELECT count(*)::int FROM smoke_node WHERE id IN (1, 10)').catch((error) => error.message)
    if (seen !== 2) await new Promise((done) => setTimeout(done, 100))
  }
  expect('replicas: rows arrive', seen, 2)
  expect('replicas: a node in recovery answers', await one(c, 'SELECT pg_is_in_recovery()'), true)
  await refuses('replicas: a write (25006)', '25006', () => c.query('INSERT INTO smoke_node VALUES ($1, NULL)', [30]))
  expect('replicas: the connection lives on', await one(c, 'SELECT 10'), 10)
})

await within('ANY', async (c) => {
  await c.query("INSERT INTO smoke_node VALUES (40, 'any')")
  expect('any: writes and reads', await one(c, 'SELECT body FROM smoke_node WHERE id = $1', [40]), 'any')
  await c.query('BEGIN READ ONLY')
  expect('any: BEGIN READ ONLY', await one(c, 'SELECT 11'), 11)
  await refuses('any: a write in it (25006)', '25006', () => c.query('DELETE FROM smoke_node WHERE id = $1', [1]))
  await c.query('ROLLBACK')
  await c.query('DROP TABLE smoke_node')
})
