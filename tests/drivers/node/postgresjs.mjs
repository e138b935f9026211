// postgres.js: what it sees of every feature of the matrix. Run twice and compared, see ../README.md.
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BIG, CLIENTS, LISTENERS, PREPARERS, ROUNDS, Seen, attempt, fields, heard, range, require, say, sleep, target } from './transcript.mjs'

const postgres = require('postgres')
const told = []
// Each is a pool of its own; most are of one connection, so that what a session has is the same session's.
const connect = (more = {}) => postgres({ ...target, max: 1, connect_timeout: 20, onnotice: (notice) => told.push(notice), ...more })
const one = (c, text, values) => c.unsafe(text, values, { prepare: values !== undefined }).then((rows) => Object.values(rows[0])[0])
const short = (rows) => [rows.command, rows.count, [...rows]]

async function prepare(c) {
  for (const n of range(4, 1)) {
    const item = await c`SELECT id, body FROM matrix.item WHERE id = ${n}`
    say('prepare', short(item), item.columns.map((column) => [column.name, column.type]), item.statement.string)
  }
  say('prepare', await c`SELECT id FROM matrix.item WHERE id IN ${c([1, 3])} ORDER BY id`.describe().then((d) => [d.types, d.string]))
  await attempt('prepare', () => c`SELECT nothing FROM matrix.item WHERE id = ${1}`)
  await attempt('prepare', () => c`SELECT 1 / ${0}::int`)
  say('prepare', short(await c`SELECT id, body FROM matrix.item WHERE id = ${1}`))
  await c.unsafe('PREPARE own (int) AS SELECT $1 * 2 AS v')
  say('sql prepare', await one(c, 'EXECUTE own(21)'))
  await attempt('sql prepare', () => c.unsafe('PREPARE own AS SELECT 1'))
  say('sql prepare', (await c.unsafe('DEALLOCATE own')).command)
  await attempt('sql prepare', () => c.unsafe('EXECUTE own(1)'))
}

// What is asked before the answers are there goes out at once.
async function pipelines(c) {
  say('pipeline', (await Promise.all(range(100).map((n) => c`SELECT ${n}::int AS v`))).map((rows) => rows[0].v))
  const mixed = await Promise.allSettled([c`SELECT 1 AS v`, c`SELECT 1 / ${0}::int`, c`SELECT nothing`, c`SELECT ${4}::int AS v`])
  say('pipeline', mixed.map((m) => m.value ?? fields(m.reason)))
  await attempt('pipeline', () => c.begin((t) => [t`INSERT INTO matrix.item VALUES (90, '')`, t`SELECT 1 / ${0}::int`, t`SELECT 1`]))
  say('pipeline', await c`SELECT id FROM matrix.item WHERE id = 90`)
}

async function batch(c) {
  const items = range(500, 100).map((id) => ({ id, body: `batch ${id}` }))
  say('batch', (await c`INSERT INTO matrix.item ${c(items)}`).count)
  say('batch', short(await c`UPDATE matrix.item SET body = v.body FROM (VALUES ${c([[100, 'x'], [101, 'y']])}) AS v (id, body) WHERE item.id = v.id::int`))
  say('batch', (await c.unsafe('SELECT 1 AS a; UPDATE matrix.item SET body = body WHERE id < 3; SELECT 2 AS b')).map(short))
  await attempt('batch', () => c.unsafe("INSERT INTO matrix.item VALUES (700, ''); SELECT 1/0; SELECT 2"))
  await attempt('batch', () => c`INSERT INTO matrix.item ${c([{ id: 800 }, { id: 800 }])}`)
  say('batch', await c`SELECT count(*) FROM matrix.item`)
}

async function cursors(c) {
  let sum = 0
  await c`SELECT n FROM generate_series(1, ${1000}::int) n`.cursor(100, (rows) => { for (const row of rows) sum += row.n })
  const parts = []
  for await (const rows of c`SELECT n FROM generate_series(1, 10) n`.cursor(3)) {
    parts.push(rows.map((row) => row.n))
    if (parts.length === 3) break
  }
  say('cursor', sum, parts, await one(c, 'SELECT 1'))
  await attempt('cursor', () => c`SELECT 1 / (5 - n) FROM generate_series(1, 10) n`.cursor(2, () => {}))
  await c.unsafe('BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n; COMMIT')
  say('cursor', short(await c.unsafe('FETCH 2 FROM held')), (await c.unsafe('CLOSE held')).command)
  const each = []
  await c`SELECT n FROM generate_series(1, 5) n`.forEach((row) => each.push(row.n))
  say('cursor', each)
}

async function copies(c) {
  const lines = range(5000, 10_000).map((n) => `${n}\trow ${n}\n`)
  await pipeline(Readable.from(lines), await c`COPY matrix.item FROM STDIN`.writable())
  say('copy in', await one(c, 'SELECT count(*) FROM matrix.item WHERE id >= 10000'))
  let text = ''
  const out = await c`COPY (SELECT * FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT`.readable()
  await new Promise((done, fail) => out.on('data', (chunk) => { text += chunk }).on('end', done).on('error', fail))
  say('copy out', text === lines.join(''), await one(c, 'SELECT 1'))
}

async function listen(c) {
  const other = connect()
  const news = []
  const subscription = await other.listen('matrix_news', (payload) => news.push(payload))
  await c.begin(async (t) => {
    for (const payload of ['first', 'first', 'second']) await t`SELECT pg_notify('matrix_news', ${payload})`
  })
  say('listen', await heard(news, 2), Object.keys(subscription.state).sort())
  await other.notify('matrix_news', 'its own')
  say('listen', await heard(news, 1))
  await subscription.unlisten()
  await c.notify('matrix_news', 'to nobody')
  say('listen', await heard(news, 1, 300))
  await other.end()
}

async function savepoints(c) {
  await c.begin(async (t) => {
    await t`INSERT INTO matrix.item VALUES (50, 'outer')`
    await attempt('savepoint', () => t.savepoint('within', async (s) => {
      await s`INSERT INTO matrix.item VALUES (51, 'inner')`
      await s`INSERT INTO matrix.item VALUES (50, 'again')`
    }))
    await t.savepoint((s) => s`INSERT INTO matrix.item VALUES (52, 'second')`)
  })
  say('savepoint', await c`SELECT * FROM matrix.item WHERE id IN (50, 51, 52) ORDER BY id`)
}

async function cancelAndTimeout(c) {
  const query = c`SELECT pg_sleep(60)`
  const sleeping = attempt('cancel', () => query)
  await sleep(500)
  query.cancel()
  await sleeping
  // The server signals a process and then its group; postgres.js does not tell when that is over.
  await sleep(500)
  say('cancel', await one(c, "SELECT 'the connection lives on'"))
  await c`SET statement_timeout = 200`
  await attempt('timeout', () => c`SELECT pg_sleep(60)`)
  say('timeout', (await c.begin(async (t) => { await t`SET LOCAL statement_timeout = 0`; return t`SELECT pg_sleep(0.4)` })).command)
  await attempt('timeout', () => c`SELECT pg_sleep(${60})`)
  await c`RESET statement_timeout`
  say('timeout', await c`SHOW statement_timeout`)
}

async function recovery(c) {
  for (const text of ['SELECT 1/0', 'SELEC 1', 'SELECT nothing', 'TABLE nowhere', "INSERT INTO matrix.item VALUES (1, 'twice')",
    'INSERT INTO matrix.kinds (id) VALUES (2)', 'SELECT (-1)::matrix.positive']) {
    await attempt('recovery', () => c.unsafe(text))
    await attempt('recovery', () => c.unsafe(text, [], { prepare: true }))
  }
  await attempt('recovery', () => c.begin('ISOLATION LEVEL SERIALIZABLE READ ONLY', async (t) => {
    say('recovery', await one(t, 'SHOW transaction_isolation'))
    await attempt('recovery', () => t`DELETE FROM matrix.item WHERE id = ${1}`)
    await t`SELECT ${1}::int`
  }))
  say('recovery', await one(c, 'SELECT 6'))
}

async function types(c) {
  // It asks pg_type for the arrays there are, once for each connection.
  const all = await c`SELECT * FROM matrix.kinds WHERE mood = ${'fine'}`
  say('types', [...all], all.columns.map((column) => [column.name, column.type < 16384 ? column.type : 'own']))
  const array = ['sad', 'fine']
  say('types', await c`SELECT ${array}::matrix.mood[] AS moods, ${c.array([1, 2])}::int[] AS numbers, ${c.json({ a: [1] })}::jsonb AS document`)
  say('types', await c`SELECT ${new Date(0)}::timestamptz AS at, ${Buffer.from([0, 255])}::bytea AS bytes, ${'9007199254740993'}::int8 AS big, ${null}::int AS nothing`)
}

async function settings(c) {
  const startup = { application_name: 'named', search_path: 'client_3', work_mem: '5MB', 'matrix.tag': 'startup' }
  const other = connect({ connection: startup })
  const all = [...Object.keys(startup), 'TimeZone']
  const show = (...names) => Promise.all(names.map((name) => one(other, `SHOW ${name}`)))
  const who = () => other`SELECT tag FROM who`.then((rows) => rows[0].tag)
  say('settings', await show(...all), await who(), await one(c, 'SHOW search_path'), other.parameters.DateStyle)
  await other.unsafe("SET search_path = client_4; SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German'")
  say('settings', await who(), await one(other, "SELECT '2024-02-29 12:00+00'::timestamptz::text"), other.parameters.TimeZone)
  await other.begin(async (t) => {
    await t`SET search_path = client_5`
    await t`SET LOCAL work_mem = '7MB'`
    say('settings', await one(t, 'SELECT tag FROM who'), await one(t, 'SHOW work_mem'))
    throw new Error('back')
  }).catch((error) => say('settings', error.message))
  say('settings', await who(), await show(...all))
  await other`SELECT set_config('matrix.tag', ${'configured'}, false)`
  say('settings', await show('matrix.tag'), (await other`RESET ALL`).command, await show(...all))
  await attempt('settings', () => other`SET work_mem = 'nonsense'`)
  await attempt('settings', () => other`SET no_such_setting = 1`)
  await other.end()
}

async function sessionState(c) {
  const other = connect()
  await c`CREATE TEMP TABLE mine (n int)`
  await c`INSERT INTO mine ${c([{ n: 1 }, { n: 2 }])}`
  say('temp table', await c`SELECT sum(n) FROM mine`)
  await attempt('temp table', () => other`SELECT * FROM mine`)
  await c`DROP TABLE mine`
  await attempt('temp table', () => c`SELECT * FROM mine`)
  await c`SELECT pg_advisory_lock(${41})`
  say('advisory lock', await one(other, 'SELECT pg_try_advisory_lock(41)'), await one(c, 'SELECT pg_try_advisory_lock(41)'))
  for (const _ of range(3)) say('advisory lock', await one(c, 'SELECT pg_advisory_unlock(41)'))
  await c.begin(async (t) => {
    await t`SELECT pg_advisory_xact_lock(42)`
    say('advisory lock', await one(other, 'SELECT pg_try_advisory_lock(42)'))
  })
  say('advisory lock', await one(other, 'SELECT pg_try_advisory_lock(42)'), await one(other, 'SELECT pg_advisory_unlock(42)'))
  // A connection of the pool that is its holder's alone for a while.
  const reserved = await c.reserve()
  say('advisory lock', await reserved`SELECT pg_try_advisory_lock(43) AS v`, await reserved`SELECT pg_advisory_unlock(43) AS v`)
  reserved.release()
  await other.end()
}

async function large(c) {
  await c`INSERT INTO matrix.item VALUES (60, ${BIG})`
  say('large value', await one(c, 'SELECT body FROM matrix.item WHERE id = 60'), await one(c, 'SELECT md5(body) FROM matrix.item WHERE id = 60'))
  say('large value', await one(c, "SELECT repeat('y', 30000000)"), await one(c, `SELECT length('${BIG}')`))
}

async function notices(c) {
  told.length = 0
  await c.unsafe("DO $$ BEGIN RAISE NOTICE 'hello %', 1 USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'careful'; END $$")
  await c`DROP TABLE IF EXISTS matrix.nothing`
  say('notices', ...told.map(fields))
}

async function client(number) {
  const seen = new Seen(number)
  const connection = { application_name: `client_${number}`, search_path: `client_${number}`, 'matrix.tag': String(number) }
  const c = connect({ connection })
  const news = []
  try {
    if (number < PREPARERS) await c.unsafe(`PREPARE mine (int) AS SELECT ${number} * $1 AS v`)
    if (number < LISTENERS) await c.listen(`channel_${number}`, (payload) => news.push(payload))
    for (const n of range(ROUNDS)) {
      seen.see('who', (await c`SELECT tag FROM who`)[0].tag)
      seen.see('own', await one(c, `SELECT ${number} + $1::int - $2::int`, [n, n]))
      seen.see('set', await Promise.all(['application_name', 'matrix.tag', 'search_path'].map((name) => one(c, `SHOW ${name}`))))
      if (number < PREPARERS) seen.see('mine', (await one(c, `EXECUTE mine(${n})`)) - number * n)
      await c`SELECT ${`x${number}`}::text::int`.catch((error) => seen.see('error', error.message))
      await c.begin(async (t) => {
        await t`INSERT INTO matrix.mixed VALUES (${number}, ${n})`
        seen.see('inside', (await t`SELECT tag FROM who`)[0].tag)
      })
    }
    await c`CREATE TEMP TABLE mine AS SELECT tag FROM who`
    seen.see('temp', await one(c, 'SELECT tag FROM mine'))
    await c`DROP TABLE mine`
    await c`SELECT pg_advisory_lock(7)`
    await c`UPDATE matrix.counter SET value = ${(await one(c, 'SELECT value FROM matrix.counter')) + 1}`
    seen.see('unlock', await one(c, 'SELECT pg_advisory_unlock(7)'))
    if (number < LISTENERS) {
      await c.notify(`channel_${number}`, `for ${number}`)
      seen.see('news', await heard(news, 1))
    }
  } catch (fault) { seen.see('fault', fault.message) }
  await c.end()
  return seen
}

async function mix(c) {
  for (const seen of await Promise.all(range(CLIENTS).map(client))) seen.tell()
  say('mix', await c`SELECT client, count(*), sum(round) FROM matrix.mixed GROUP BY client ORDER BY client`, await c`SELECT value FROM matrix.counter`)
  const pool = connect({ max: CLIENTS })
  say('mix', (await Promise.all(range(100).map((n) => pool`SELECT ${n}::int AS v`))).map((rows) => rows[0].v))
  await pool.end()
}

const c = connect()
for (const feature of [prepare, pipelines, batch, cursors, copies, listen, savepoints, cancelAndTimeout, recovery, types, settings, sessionState,
  large, notices, mix]) {
  await feature(c)
}
await c.end()
