// What socket.io-client sees: node client.mjs URL SERVICE TRANSPORTS, with a token in TOKEN.
import { createRequire } from 'node:module'

const require = createRequire(process.env.PODKEEPER_NODE_MODULES ?? import.meta.url)
const { io } = require('socket.io-client')

const [url, service, transports] = process.argv.slice(2)
const options = { transports: transports.split(','), forceNew: true, reconnection: false, auth: { token: process.env.TOKEN } }
const event = (socket, name) => new Promise((resolve) => socket.once(name, resolve))
const refusal = async (namespace, with_options) => {
  const socket = io(url + namespace, with_options)
  const error = await event(socket, 'connect_error')
  socket.close()
  return error.message
}

const seen = {}
seen.refused = await refusal('/log', { ...options, auth: {} })
seen.nowhere = await refusal('/none', options)

const status = io(url + '/status', options)
seen.snapshot = Array.isArray((await event(status, 'snapshot')).services)
status.close()

const log = io(url + '/log', options)
await event(log, 'connect')
const closed = event(log, 'closed')
// 400 lines that are there, and some that come; each message is acknowledged, whatever the transport is by then.
seen.texts = []
const enough = new Promise((resolve) => {
  let last = 0
  log.on('data', ({ channel, seq, entries }) => {
    if (seq !== last + 1) throw new Error(`message ${seq} behind ${last}`)
    last = seq
    seen.texts.push(...entries.map((entry) => entry.message))
    log.emit('ack', { channel, seq })
    if (seen.texts.length > 450) resolve()
  })
})
const { channel } = await log.emitWithAck('open', { service, lines: 400 })
await enough
await log.emitWithAck('close', { channel })
seen.closed = await closed
seen.bad = (await log.emitWithAck('open', { service: 'no-such-service' })).problem
// An upgrade is under way at first.
while (log.io.engine.transport.name !== options.transports.at(-1)) {
  await new Promise((resolve) => setTimeout(resolve, 50))
}
seen.transport = log.io.engine.transport.name
log.close()
console.log(JSON.stringify(seen))
