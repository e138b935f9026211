// What the programs of the matrix for Node share: where to connect, and how an observation is told. See ../README.md.
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'

const env = process.env
// The modules are installed beside the build's other products, not beside this file.
export const require = createRequire(env.PGHERD_NODE_MODULES + '/')
export const target = {
  host: env.PGHERD_HOST,
  port: Number(env.PGHERD_PORT),
  user: env.PGHERD_USER,
  password: env.PGHERD_PASSWORD,
  database: env.PGHERD_DATABASE,
}
export const [CLIENTS, LISTENERS, PREPARERS] = ['CLIENTS', 'LISTENERS', 'PREPARERS'].map((name) => Number(env[`PGHERD_${name}`]))
export const ROUNDS = 10
export const BIG = Array.from({ length: 1_000_000 }, (_, n) => String(n).padStart(8, '0')).join('')
export const range = (count, start = 0) => Array.from({ length: count }, (_, n) => n + start)
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

const short = (value) => {
  const text = typeof value === 'string' ? value : JSON.stringify(value) ?? 'undefined'
  if (text.length > 400) return `${text.length} characters, md5 ${createHash('md5').update(text).digest('hex')}`
  return text.replaceAll('\n', '\\n')
}
// One line of the transcript: of which feature, and what was seen.
export const say = (feature, ...observed) => console.log([feature, ...observed.map(short)].join(' | '))
export const fields = (error) =>
  ['severity', 'code', 'message', 'detail', 'hint', 'position'].filter((name) => error[name] !== undefined).map((name) => error[name])
export const attempt = async (feature, action) => {
  try { say(feature, 'no error', await action()) } catch (error) { say(feature, ...fields(error)) }
}
// What was heard, when it is so many or the time is up.
export const heard = async (news, count, patience = 20_000) => {
  for (const end = Date.now() + patience; news.length < count && Date.now() < end;) await sleep(20)
  return news.splice(0)
}
// What one of many clients has seen while the others ran: each thing once, so that a stranger's stands out.
export class Seen {
  what = {}
  constructor(number) { this.number = number }
  see(what, value) { (this.what[what] ??= new Set()).add(short(value)) }
  tell() { say('mix', `client ${this.number}`, ...Object.keys(this.what).sort().map((what) => `${what}: ${[...this.what[what]].sort().join(', ')}`)) }
}
