// What socket.io-client sees of a terminal: node terminal.mjs URL TRANSPORTS, with a token in TOKEN.
import { createRequire } from 'node:module'

const require = createRequire(process.env.PODKEEPER_NODE_MODULES ?? import.meta.url)
const { io } = require('socket.io-client')

const [url, transports] = process.argv.slice(2)
const options = { transports: transports.split(','), forceNew: true, reconnection: false, auth: { token: process.env.TOKEN } }
const event = (socket, name) => new Promise((resolve) => socket.once(name, resolve))

const term = io(url + '/term', options)
await event(term, 'connect')
const exited = event(term, 'exit')
let shown = Buffer.alloc(0)
let look = () => {}
const kinds = new Set()
term.on('output', ({ session, data }) => {
  kinds.add(Buffer.isBuffer(data) ? 'bytes' : typeof data)
  shown = Buffer.concat([shown, data])
  term.emit('ack', { session, bytes: shown.length })
  look()
})
// What is shown behind `wanted`, once there are `length` bytes of it.
const behind = (wanted, length) =>
  new Promise((resolve) => {
    look = () => {
      const at = shown.indexOf(wanted)
      if (at >= 0 && shown.length >= at + wanted.length + length) resolve(shown.subarray(at + wanted.length).subarray(0, length))
    }
    look()
  })
const type = (data) => term.emitWithAck('input', { session, data })

const { session } = await term.emitWithAck('open', { cols: 80, rows: 24 })
await type(Buffer.from("stty raw -echo; echo re''ady; head -c 4096; exit 7\n"))
await behind('ready\n', 0)
// Every byte there is, and again in the other order: no text in any encoding.
const every = Buffer.from(Array.from({ length: 4096 }, (_, index) => (index & 256 ? 255 - (index & 255) : index & 255)))
await type(every.subarray(0, 1500))
await type(every.subarray(1500))
const same = every.equals(await behind('ready\n', 4096))
const { code } = await exited
const transport = term.io.engine.transport.name
term.close()
console.log(JSON.stringify({ kinds: [...kinds], same, code, transport }))
