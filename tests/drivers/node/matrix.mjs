// node-postgres: what it sees of every feature of the matrix. Run twice and compared, see ../README.md.
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BIG, CLIENTS, LISTENERS, PREPARERS, ROUNDS, Seen, attempt, fields, heard, range, require, say, sleep, target } from './transcript.mjs'

const { Client, Connection, Pool } = require('pg')
const Cursor = require('pg-cursor')
const copy = require('pg-copy-streams')

const connect = async (more) => {
  const c = new Client({ ...target, connectionTimeoutMillis: 20_000, ...more })
  c.news = []
  c.on('notification', (told) => c.news.push([told.channel, told.payload]))
  await c.connect()
  return c
}
const one = async (c, text, values) => Object.values((await c.query(text, values)).rows[0])[0]
const short = (result) => [result.command, result.rowCount, result.rows]

async function prepare(c) {
  for (const n of range(4, 1)) {
    const item = await c.query({ name: 'item', text: 'SELECT id, body FROM matrix.item WHERE id = $1', values: [n] })
    const other = await c.query({ name: 'other', text: 'SELECT $1::numeric AS a, $2::text[] AS b', values: [n / 2, ['x', null]] })
    say('prepare', short(item), item.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize]), short(other))
  }
  await attempt('prepare', () => c.query({ name: 'broken', text: 'SELECT nothing' }))
  await attempt('prepare', () => c.query({ name: 'item', text: 'SELECT 1' }))
  await attempt('prepare', () => c.query({ name: 'item', text: 'SELECT id, body FROM matrix.item WHERE id = $1', values: ['x'] }))
  await c.query('PREPARE own (int) AS SELECT $1 * 2 AS v')
  say('sql prepare', await one(c, 'EXECUTE own(21)'))
  await attempt('sql prepare', () => c.query('PREPARE own AS SELECT 1'))
  say('sql prepare', (await c.query('DEALLOCATE own')).command)
  await attempt('sql prepare', () => c.query('EXECUTE own(1)'))
}

// Asked at once: first each is written when the one before it has its answer, then all of them together.
async function pipelines() {
  for (const pipeline of [false, true]) {
    const c = await connect({ pipeline })
    say('pipeline', await Promise.all(range(50).map((n) => one(c, 'SELECT $1::int AS v', [n]))))
    const mixed = [['SELECT 1', []], ['SELECT 1 / $1::int', [0]], ['SELECT nothing'], ['SELECT $1::int', [4]]]
    const told = await Promise.allSettled(mixed.map(([text, values]) => one(c, text, values)))
    say('pipeline', told.map((t) => t.value ?? fields(t.reason)))
    const block = ['BEGIN', "INSERT INTO matrix.item VALUES (90, '')", 'SELECT 1/0', 'SELECT 1', 'COMMIT'].map((text) => c.query(text))
    say('pipeline', (await Promise.allSettled(block)).map((t) => t.value?.command ?? fields(t.reason)))
    await c.end()
  }
}

async function batch(c) {
  say('batch', (await c.query('SELECT 1 AS a; UPDATE matrix.item SET body = body; SELECT 2 AS b')).map(short))
  await attempt('batch', () => c.query("INSERT INTO matrix.item VALUES (700, ''); SELECT 1/0; SELECT 2"))
  const inserted = await c.query('INSERT INTO matrix.item SELECT n, $2 FROM unnest($1::int[]) n RETURNING id', [range(500, 100), 'batch'])
  say('batch', inserted.rowCount, inserted.rows, await one(c, 'SELECT count(*) FROM matrix.item'))
}

async function cursors(c) {
  await c.query('BEGIN')
  const walker = c.query(new Cursor('SELECT n FROM generate_series(1, $1::int) n', [1000]))
  say('cursor', await walker.read(3), (await walker.read(500)).length, await walker.read(1), await walker.close())
  await c.query('COMMIT')
  const alone = c.query(new Cursor('SELECT n FROM generate_series(1, 1000) n'))
  say('cursor', (await alone.read(10)).length, (await alone.read(2000)).length, await alone.read(1))
  await attempt('cursor', () => c.query(new Cursor('SELECT 1 / (5 - n) FROM generate_series(1, 10) n')).read(10))
  await c.query('BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n; COMMIT')
  say('cursor', short(await c.query('FETCH 2 FROM held')), (await c.query('FETCH ALL FROM held')).rowCount, (await c.query('CLOSE held')).command)
  await attempt('cursor', () => c.query('FETCH 1 FROM held'))
}

async function copies(c) {
  const lines = range(5000, 10_000).map((n) => `${n}\trow ${n}\n`)
  const into = c.query(copy.from('COPY matrix.item FROM STDIN'))
  await pipeline(Readable.from(lines), into)
  say('copy in', into.rowCount)
  for (const nonsense of ['a\tb\n', '1\tdouble key\n']) {
    await attempt('copy in', () => pipeline(Readable.from([nonsense]), c.query(copy.from('COPY matrix.item FROM STDIN'))))
  }
  const read = async (query) => {
    let text = ''
    for await (const chunk of c.query(copy.to(query))) text += chunk
    return text
  }
  say('copy out', (await read('COPY (SELECT * FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT')) === lines.join(''))
  await attempt('copy out', () => read('COPY (SELECT 100 / (50 - n) FROM generate_series(1, 100) n) TO STDOUT'))
  say('copy out', await one(c, 'SELECT 1'))
}

async function listen(c) {
  const other = await connect()
  await other.query('LISTEN matrix_news')
  await c.query('BEGIN')
  for (const payload of ['first', 'first', 'second']) await c.query('SELECT pg_notify($1, $2)', ['matrix_news', payload])
  await c.query('COMMIT')
  say('listen', await heard(other.news, 2))
  await other.query("NOTIFY matrix_news, 'its own'")
  say('listen', await heard(other.news, 1), (await other.query('SELECT pg_listening_channels()')).rows)
  await other.query('UNLISTEN matrix_news')
  await c.query("NOTIFY matrix_news, 'to nobody'")
  say('listen', await heard(other.news, 1, 300))
  await other.end()
}

async function savepoints(c) {
  await c.query('BEGIN')
  await c.query("INSERT INTO matrix.item VALUES (50, 'outer')")
  await c.query('SAVEPOINT within')
  await attempt('savepoint', () => c.query('INSERT INTO matrix.item VALUES ($1, $2)', [50, 'again']))
  await attempt('savepoint', () => c.query('SELECT 1'))
  for (const text of ['ROLLBACK TO within', 'RELEASE within', "INSERT INTO matrix.item VALUES (52, 'second')", 'COMMIT']) {
    say('savepoint', short(await c.query(text)))
  }
  say('savepoint', (await c.query('SELECT * FROM matrix.item WHERE id IN (50, 51, 52)')).rows)
}

// node-postgres has no public cancel: this is the request its own connection class knows how to make.
const cancelOf = (c) => new Promise((done) => {
  const messenger = new Connection({ stream: undefined })
  messenger.on('connect', () => messenger.cancel(c.processID, c.secretKey))
  messenger.on('error', () => {})
  messenger.on('end', done)
  messenger.connect(target.port, target.host)
})

async function cancelAndTimeout(c) {
  const sleeping = attempt('cancel', () => c.query('SELECT pg_sleep(60)'))
  await sleep(500)
  await cancelOf(c)
  await sleeping
  await cancelOf(c)
  say('cancel', await one(c, "SELECT 'a cancel of nothing hurts nobody'"))
  await c.query('SET statement_timeout = 200')
  await attempt('timeout', () => c.query('SELECT pg_sleep(60)'))
  say('timeout', (await c.query('BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_sleep(0.4); COMMIT')).map((r) => r.command))
  await attempt('timeout', () => c.query('SELECT pg_sleep($1)', [60]))
  await c.query('RESET statement_timeout')
  const timed = await connect({ statement_timeout: 200, lock_timeout: 100, idle_in_transaction_session_timeout: 5000 })
  await attempt('timeout', () => timed.query('SELECT pg_sleep(60)'))
  say('timeout', await one(timed, 'SHOW lock_timeout'), await one(timed, 'SHOW idle_in_transaction_session_timeout'))
  await timed.end()
}

async function recovery(c) {
  for (const text of ['SELECT 1/0', 'SELEC 1', 'SELECT nothing', 'TABLE nowhere', "INSERT INTO matrix.item VALUES (1, 'twice')",
    'INSERT INTO matrix.kinds (id) VALUES (2)', 'SELECT (-1)::matrix.positive']) {
    await attempt('recovery', () => c.query(text))
    await attempt('recovery', () => c.query(text, []))
  }
  await c.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
  say('recovery', await one(c, 'SHOW transaction_isolation'))
  await attempt('recovery', () => c.query('SELECT 1 / $1::int', [0]))
  await attempt('recovery', () => c.query('SELECT $1::int', [1]))
  say('recovery', (await c.query('COMMIT')).command, await one(c, 'SELECT 6'), short(await c.query('')))
}

async function types(c) {
  const all = await c.query('SELECT * FROM matrix.kinds')
  say('types', all.rows, all.fields.map((f) => [f.name, f.dataTypeID < 16384 ? f.dataTypeID : 'own', f.dataTypeSize, f.dataTypeModifier, f.format]))
  const array = await c.query({ text: 'SELECT $1::date, $2::jsonb, $3::bytea, $4::int8, $5::timestamptz',
    values: ['2024-02-29', { a: [1] }, Buffer.from([0, 255]), '9007199254740993', new Date(0)], rowMode: 'array' })
  say('types', array.rows)
  const binary = await c.query({ text: 'SELECT $1::int4, $2::float8, $3::bool', values: [7, 1.5, true], binary: true })
  say('types', binary.rows)
  say('types', (await c.query("SELECT typname, typtype, typcategory FROM pg_type WHERE typnamespace = 'matrix'::regnamespace ORDER BY typname")).rows)
}

async function settings(c) {
  const other = await connect({ application_name: 'named', options: '-c search_path=client_3 -c work_mem=5MB -c matrix.tag=startup' })
  const show = async (...names) => {
    const shown = []
    for (const name of names) shown.push(await one(other, `SHOW ${name}`))
    return shown
  }
  const who = () => other.query({ name: 'who', text: 'SELECT tag FROM who' }).then((r) => r.rows[0].tag)
  const all = ['application_name', 'search_path', 'work_mem', 'matrix.tag', 'TimeZone']
  say('settings', await show(...all), await who(), await one(c, 'SHOW search_path'))
  await other.query("SET search_path = client_4; SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German'")
  say('settings', await who(), await one(other, "SELECT '2024-02-29 12:00+00'::timestamptz::text"))
  await other.query('BEGIN')
  await other.query("SET search_path = client_5; SET LOCAL work_mem = '7MB'")
  say('settings', await who(), await show('work_mem'))
  await other.query('ROLLBACK')
  say('settings', await who(), await show(...all))
  await other.query("SELECT set_config('matrix.tag', $1, false)", ['configured'])
  say('settings', await show('matrix.tag'), (await other.query('DISCARD ALL')).command, await show(...all))
  await attempt('settings', () => other.query("SET work_mem = 'nonsense'"))
  await attempt('settings', () => other.query('SET no_such_setting = 1'))
  await other.end()
}

async function sessionState(c) {
  const other = await connect()
  await c.query('CREATE TEMP TABLE mine (n int)')
  await c.query('INSERT INTO mine VALUES ($1), ($2)', [1, 2])
  say('temp table', await one(c, 'SELECT sum(n) FROM mine'))
  await attempt('temp table', () => other.query('SELECT * FROM mine'))
  await c.query('DROP TABLE mine')
  await attempt('temp table', () => c.query('SELECT * FROM mine'))
  say('temp table', (await c.query('BEGIN; CREATE TEMP TABLE brief ON COMMIT DROP AS SELECT 5 AS n; SELECT n FROM brief; COMMIT')).map(short))
  await attempt('temp table', () => c.query('SELECT n FROM brief'))
  await c.query('SELECT pg_advisory_lock($1)', [41])
  say('advisory lock', await one(other, 'SELECT pg_try_advisory_lock(41)'), await one(c, 'SELECT pg_try_advisory_lock(41)'))
  for (const _ of range(3)) say('advisory lock', await one(c, 'SELECT pg_advisory_unlock(41)'))
  await c.query('BEGIN; SELECT pg_advisory_xact_lock(42)')
  say('advisory lock', await one(other, 'SELECT pg_try_advisory_lock(42)'), (await c.query('COMMIT')).command)
  say('advisory lock', await one(other, 'SELECT pg_try_advisory_lock(42)'), await one(other, 'SELECT pg_advisory_unlock(42)'))
  await other.end()
}

async function large(c) {
  await c.query('INSERT INTO matrix.item VALUES (60, $1)', [BIG])
  say('large value', await one(c, 'SELECT body FROM matrix.item WHERE id = 60'), await one(c, 'SELECT md5(body) FROM matrix.item WHERE id = 60'))
  say('large value', await one(c, "SELECT repeat('y', 30000000)"), await one(c, `SELECT length('${BIG}')`))
  say('large value', (await one(c, 'SELECT $1::bytea', [Buffer.from(BIG)])).equals(Buffer.from(BIG)))
}

async function notices(c) {
  const got = []
  c.on('notice', (notice) => got.push(fields(notice)))
  await c.query("DO $$ BEGIN RAISE NOTICE 'hello %', 1 USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'careful'; END $$")
  for (const text of ['DROP TABLE IF EXISTS matrix.nothing', 'BEGIN', 'BEGIN', 'COMMIT', 'COMMIT']) await c.query(text)
  say('notices', ...got)
}

async function client(number) {
  const seen = new Seen(number)
  const c = await connect({ application_name: `client_${number}`, options: `-c search_path=client_${number} -c matrix.tag=${number}` })
  const named = (name, text, ...values) => c.query({ name, text, values }).then((r) => Object.values(r.rows[0])[0])
  try {
    if (number < PREPARERS) await c.query(`PREPARE mine (int) AS SELECT ${number} * $1 AS v`)
    if (number < LISTENERS) await c.query(`LISTEN channel_${number}`)
    for (const n of range(ROUNDS)) {
      seen.see('who', await named('who', 'SELECT tag FROM who'))
      // The same name on every client for a different text.
      seen.see('own', await named('own', `SELECT ${number} + $1::int - $2::int`, n, n))
      seen.see('set', [await one(c, 'SHOW application_name'), await one(c, 'SHOW matrix.tag'), await one(c, 'SHOW search_path')])
      if (number < PREPARERS) seen.see('mine', (await one(c, `EXECUTE mine(${n})`)) - number * n)
      await c.query('SELECT $1::text::int', [`x${number}`]).catch((error) => seen.see('error', error.message))
      await c.query('BEGIN')
      await c.query('INSERT INTO matrix.mixed VALUES ($1, $2)', [number, n])
      seen.see('inside', await named('who', 'SELECT tag FROM who'))
      await c.query('COMMIT')
    }
    await c.query('CREATE TEMP TABLE mine AS SELECT tag FROM who')
    seen.see('temp', await one(c, 'SELECT tag FROM mine'))
    await c.query('DROP TABLE mine')
    await c.query('SELECT pg_advisory_lock(7)')
    await c.query('UPDATE matrix.counter SET value = $1', [(await one(c, 'SELECT value FROM matrix.counter')) + 1])
    seen.see('unlock', await one(c, 'SELECT pg_advisory_unlock(7)'))
    if (number < LISTENERS) {
      await c.query(`NOTIFY channel_${number}, 'for ${number}'`)
      seen.see('news', await heard(c.news, 1))
    }
  } catch (fault) { seen.see('fault', fault.message) }
  await c.end()
  return seen
}

async function mix(c) {
  for (const seen of await Promise.all(range(CLIENTS).map(client))) seen.tell()
  say('mix', (await c.query('SELECT client, count(*), sum(round) FROM matrix.mixed GROUP BY client ORDER BY client')).rows)
  say('mix', await one(c, 'SELECT value FROM matrix.counter'))
  const pool = new Pool({ ...target, max: CLIENTS })
  say('mix', (await Promise.all(range(50).map((n) => pool.query('SELECT $1::int AS v', [n])))).map((r) => r.rows[0].v))
  await pool.end()
}

const c = await connect()
for (const feature of [prepare, pipelines, batch, cursors, copies, listen, savepoints, cancelAndTimeout, recovery, types, settings, sessionState,
  large, notices, mix]) {
  await feature(c)
}
await c.end()
