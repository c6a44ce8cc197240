// A real Wechaty gateway (PuppetServer over gRPC) whose WeChat account is made up, with an address on loopback to play
// its people. Prints one line of JSON when it is ready; ends with its standard input.
// Environment: WECHATY_TOKEN, GATEWAY_TLS=1 (with WECHATY_PUPPET_SERVICE_TLS_SERVER_CERT and …_KEY),
// GATEWAY_SENT (a file that keeps what we were asked to send, for when this process is killed)
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { FileBox } from 'file-box'
import { PuppetMock, mock } from 'wechaty-puppet-mock'
import { PuppetServer } from 'wechaty-puppet-service'

const freePort = () => new Promise(resolve => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address()
    server.close(() => resolve(port))
  })
})

const port = await freePort()
const mocker = new mock.Mocker()
const friendships = new Map()
const invitations = new Map()
const sent = []      // what we were asked to send
const recalled = []
const accepted = []  // friendships and invitations
const faults = []    // what becomes of the next sends
const calls = {}     // how often each call was made
const TOKEN = process.env.WECHATY_TOKEN
let token = TOKEN
let number = 0

async function outcome (record) {
  if (!puppet.isLoggedIn) throw new Error('puppet is not logged in')
  const group = record.to.endsWith('@chatroom')
  if (group && !mocker.cacheRoomPayload.get(record.to)?.memberIdList.includes(puppet.currentUserId)) {
    throw new Error('you are not in the group chat')  // which WeChat tells nobody but whoever writes there
  }
  const fault = faults.shift()
  if (fault === 'refused') throw new Error(`the contact refuses, says ${token}`)
  if (fault === 'busy') throw Object.assign(new Error('too fast'), { code: 8 })
  if (fault === 'logged out') throw new Error('puppet is not logged in')
  sent.push({ ...record, at: Date.now() })
  if (process.env.GATEWAY_SENT) fs.appendFileSync(process.env.GATEWAY_SENT, JSON.stringify(sent.at(-1)) + '\n')
  if (fault === 'lost') { await restart(); await new Promise(() => {}) }  // it arrived, and the answer never will
  if (fault === 'held') await new Promise(() => {})  // it arrived, and nobody is told
  return fault === 'nameless' ? undefined : record.id
}

class TestPuppet extends PuppetMock {
  messageSendText (to, text, mentionIdList = []) { return outcome({ id: `out-${++number}`, to, text, mentionIdList }) }

  messageSendUrl (to, { title, description = '', url }) {  // what WeChat takes of a shared page
    const long = [[title, 512], [description, 1024], [url, 10240]].some(([text, most]) => Buffer.byteLength(text) > most)
    if (!title || long || !/^https?:\/\//.test(url)) throw new Error('the link is not one that can be sent')
    if (linkless) throw new Error('messageSendUrl: this puppet does not support it')
    return outcome({ id: `out-${++number}`, to, link: { title, description, url } })
  }

  async messageSendFile (to, file) {
    const content = await file.toBuffer()
    return outcome({ id: `out-${++number}`, to, file: file.name, size: content.length, base64: content.length < 1e6 ? content.toString('base64') : '' })
  }

  async messageRecall (id) { recalled.push(id); return sent.some(each => each.id === id) }
  async friendshipRawPayload (id) { return friendships.get(id) }

  async friendshipAccept (id) {  // WeChat tells of the new friend by an event of its own
    accepted.push(id)
    const confirmed = { ...friendships.get(id), id: `${id}-ok`, type: 1 }
    friendships.set(confirmed.id, confirmed)
    this.emit('friendship', { friendshipId: confirmed.id })
  }

  async roomInvitationRawPayload (id) { return invitations.get(id) }

  async roomInvitationAccept (id) {
    accepted.push(id)
    const { inviterId, roomId } = invitations.get(id)
    this.emit('room-join', { inviteeIdList: [this.currentUserId], inviterId, roomId, timestamp: Date.now() })
  }

  async contactPayload (id) {  // never from a cache: names change
    if (hidden.has(id)) throw new Error(`${id} is not synced yet`)
    return this.contactRawPayload(id)
  }

  async roomPayload (id) { return this.roomRawPayload(id) }  // nor are groups: each test has its own of the same id

  async messageRawPayload (id) {
    calls.messagePayload = (calls.messagePayload ?? 0) + 1
    if (slow.has(id)) await new Promise(resolve => setTimeout(resolve, slow.get(id)))
    return super.messageRawPayload(id)
  }
}
const slow = new Map()
let linkless = false  // whether the account's protocol has no cards with links
const hidden = new Set()  // contacts that the gateway does not know yet

const puppet = new TestPuppet({ mocker })
puppet.on('error', error => console.error('puppet error', error))
const accounts = { wxid_bot: mocker.createContact({ id: 'wxid_bot', name: '小值', friend: false }) }
const contact = id => mocker.cacheContactPayload.has(id) ? mocker.ContactMock.load(id) : mocker.createContact({ id, name: id })
const room = id => mocker.RoomMock.load(id)

const serve = async () => {
  const server = new PuppetServer({ endpoint: `127.0.0.1:${port}`, puppet, token, tls: { disable: !process.env.GATEWAY_TLS } })
  await server.start()
  return server
}
let server = await serve()
async function restart (meanwhile = []) {
  const old = server
  await old.stop()
  for (const [name, values] of meanwhile) await plays[name](values)
  server = await serve()
}

const plays = {
  state: () => ({ loggedIn: puppet.isLoggedIn, sent, recalled, accepted, calls, listeners: puppet.listenerCount('message') }),
  reset: async () => {  // as if it had just been started
    for (const list of [sent, recalled, accepted, faults]) list.length = 0
    linkless = false
    if (puppet.isLoggedIn) await puppet.logout()
    for (const known of [mocker.cacheRoomPayload, mocker.RoomMock.pool, mocker.cacheFileBoxPayload, friendships, invitations, slow, hidden]) known.clear()
    if (token !== TOKEN) await plays.token({ token: TOKEN })
  },
  login: ({ id = 'wxid_bot', name } = {}) => {
    accounts[id] ??= mocker.createContact({ id, name: name ?? id, friend: false })
    return mocker.login(accounts[id])
  },
  logout: () => puppet.logout(),
  scan: ({ qrcode, status = 2 }) => mocker.scan(qrcode, status),
  contact: payload => {
    hidden.delete(payload.id)
    if (mocker.cacheContactPayload.has(payload.id)) mocker.ContactMock.load(payload.id).payload.name = payload.name
    else mocker.createContact(payload)
  },
  hide: ({ id }) => { hidden.add(id) },
  room: payload => { mocker.createRoom({ adminIdList: [], ownerId: payload.memberIdList?.[0], ...payload }) },
  message: ({ id = `in-${++number}`, room, to, talker, text, mentionIdList = [], type = 7, timestamp = Date.now(), file, url, wait }) => {
    contact(talker)
    if (file?.base64) mocker.cacheFileBoxPayload.set(id, FileBox.fromBase64(file.base64, file.name).toJSON())
    if (url) mocker.cacheFileBoxPayload.set(id, FileBox.fromUrl(url, { name: file?.name ?? 'file' }).toJSON())
    if (wait) slow.set(id, wait)
    mocker.MessageMock.create({ id, talkerId: talker, roomId: room, listenerId: to, text, mentionIdList, type, timestamp, filename: file?.name })
    puppet.emit('message', { messageId: id })
    return { id }
  },
  messages: ({ each }) => { for (const one of each) plays.message(one) },
  flood: async ({ n, rooms, talker, text = 'm', rate = 0 }) => {  // each message carries its number and its time
    const began = performance.now()
    for (let i = 0; i < n; i++) {
      plays.message({ ...(rooms ? { room: rooms[i % rooms.length] } : { to: 'wxid_bot' }), talker, text: `${text} ${i} ${performance.timeOrigin + performance.now()}` })
      const early = began + (i + 1) * 1000 / rate - performance.now()
      if (rate && early > 1) await new Promise(resolve => setTimeout(resolve, early))
      else if (i % 50 === 49) await new Promise(resolve => setImmediate(resolve))
    }
    return { ms: performance.now() - began }
  },
  join: ({ room: id, who, by }) => room(id).add(...who.map(contact)).by(contact(by)),
  leave: ({ room: id, who, by }) => room(id).remove(...who.map(contact)).by(contact(by)),
  topic: ({ room: id, topic, by }) => room(id).topic(topic).by(contact(by)),
  friendship: payload => {
    contact(payload.contactId)
    friendships.set(payload.id, { type: 2, hello: '', ticket: 't', timestamp: Date.now(), ...payload })
    puppet.emit('friendship', { friendshipId: payload.id })
  },
  invite: payload => {
    invitations.set(payload.id, { memberCount: 3, memberIdList: [], receiverId: 'wxid_bot', timestamp: Date.now(), topic: '', ...payload })
    puppet.emit('room-invite', { roomInvitationId: payload.id })
  },
  emit: ({ event, payload }) => { puppet.emit(event, payload) },
  links: ({ none }) => { linkless = none },
  fault: ({ next }) => { faults.push(...next) },
  // Cuts every connection and comes back at once, at the same address. Nobody hears what happens meanwhile.
  drop: ({ meanwhile } = {}) => restart(meanwhile),
  token: async ({ token: other }) => { token = other; await restart() },
}

await puppet.start()
http.createServer(async (request, response) => {
  let body = ''
  for await (const piece of request) body += piece
  try {
    response.end(JSON.stringify(await plays[request.url.slice(1)](body ? JSON.parse(body) : {}) ?? {}))
  } catch (error) {
    response.statusCode = 400
    response.end(String(error.stack || error))
  }
}).listen(0, '127.0.0.1', function () {
  console.log(JSON.stringify({ port, plays: this.address().port }))
})
process.stdin.on('end', () => process.exit(0)).resume()
