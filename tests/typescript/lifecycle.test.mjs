import assert from 'node:assert/strict'
import test from 'node:test'
import {
  Daytona,
  DaytonaAuthenticationError,
  DaytonaBadRequestError,
  DaytonaConflictError,
  DaytonaNotFoundError,
} from '@daytonaio/sdk'
import { create, daytona, gone, unique } from './sandboxes.mjs'

test('create without parameters', async (t) => {
  const sandbox = await create(t)
  assert.equal(sandbox.state, 'started')
  assert.equal(sandbox.name, sandbox.id)
  assert.deepEqual([sandbox.cpu, sandbox.memory, sandbox.disk], [1, 1, 3])
  assert.equal((await sandbox.process.executeCommand('echo ready')).result, 'ready\n')
})

test('create with parameters', async (t) => {
  const name = unique()
  const sandbox = await create(t, {
    name,
    language: 'typescript',
    user: 'root',
    envVars: { GREETING: 'hello world' },
    labels: { suite: name },
    public: true,
    autoStopInterval: 7,
    autoArchiveInterval: 60,
    autoDeleteInterval: 30,
  })
  assert.equal(sandbox.name, name)
  assert.equal(sandbox.user, 'root')
  assert.equal(sandbox.public, true)
  assert.equal(sandbox.labels.suite, name)
  assert.equal(sandbox.autoStopInterval, 7)
  assert.equal(sandbox.autoArchiveInterval, 60)
  assert.equal(sandbox.autoDeleteInterval, 30)
  assert.equal((await sandbox.process.executeCommand('echo $GREETING; id -un')).result, 'hello world\nroot\n')
})

test('get by id and name', async (t) => {
  const name = unique()
  const sandbox = await create(t, { name })
  assert.equal((await daytona.get(name)).id, sandbox.id)
  assert.equal((await daytona.get(sandbox.id)).name, name)
})

test('list by label, page by page', async (t) => {
  const suite = unique()
  const made = new Set()
  for (let n = 0; n < 3; n++) made.add((await create(t, { labels: { suite } })).id)
  const seen = []
  for await (const sandbox of daytona.list({ labels: { suite }, limit: 1 })) seen.push(sandbox.id)
  assert.equal(seen.length, 3)
  assert.deepEqual(new Set(seen), made)
})

test('stop, start and delete', async (t) => {
  const sandbox = await create(t)
  await sandbox.fs.uploadFile(Buffer.from('kept'), 'kept.txt')
  await sandbox.stop()
  assert.equal(sandbox.state, 'stopped')
  await sandbox.start()
  assert.equal(sandbox.state, 'started')
  assert.equal((await sandbox.fs.downloadFile('kept.txt')).toString(), 'kept')
  await sandbox.stop(60, true)
  assert.equal(sandbox.state, 'stopped')
  await sandbox.delete()
  await gone(sandbox)
})

test('delete and wait', async (t) => {
  const sandbox = await create(t)
  await sandbox.delete(60, true)
  await assert.rejects(daytona.get(sandbox.id), DaytonaNotFoundError)
})

test('no wait costs a second', async (t) => {
  const spent = []
  for (let turn = 0; turn < 3; turn++) {
    const began = performance.now()
    const sandbox = await create(t)
    await sandbox.stop()
    await sandbox.start()
    await sandbox.delete()
    spent.push(performance.now() - began)
  }
  assert.ok(Math.min(...spent) < 900, `${spent} ms`)
})

test('an event ends the wait for what another client does', async (t) => {
  const sandbox = await create(t)
  const other = await daytona.get(sandbox.id)
  const spent = []
  for (let turn = 0; turn < 3; turn++) {
    const waiting = sandbox.waitUntilStopped(20)
    const began = performance.now()
    await Promise.all([other.stop(), waiting])
    spent.push(performance.now() - began)
    await sandbox.start()
    await other.refreshData()
  }
  assert.ok(Math.min(...spent) < 900, `${spent} ms`)
})

test('labels, intervals and activity', async (t) => {
  const sandbox = await create(t)
  assert.deepEqual(await sandbox.setLabels({ a: 'b' }), { a: 'b' })
  await sandbox.setAutostopInterval(42)
  await sandbox.setAutoArchiveInterval(90)
  await sandbox.setAutoDeleteInterval(60)
  await sandbox.refreshActivity()
  await sandbox.refreshData()
  assert.deepEqual(sandbox.labels, { a: 'b' })
  assert.deepEqual(
    [sandbox.autoStopInterval, sandbox.autoArchiveInterval, sandbox.autoDeleteInterval],
    [42, 90, 60],
  )
})

test('directories', async (t) => {
  const sandbox = await create(t)
  assert.equal(await sandbox.getWorkDir(), '/home/daytona')
  assert.equal(await sandbox.getUserHomeDir(), '/home/daytona')
})

test('an ephemeral sandbox is deleted when it stops', async (t) => {
  const sandbox = await create(t, { ephemeral: true })
  await sandbox.stop()
  await gone(sandbox)
})

test('errors have their class', async (t) => {
  const name = unique()
  await create(t, { name })
  await assert.rejects(daytona.create({ name }), DaytonaConflictError)
  await assert.rejects(daytona.get(unique()), DaytonaNotFoundError)
  await assert.rejects(daytona.create({ name: 'a b' }), DaytonaBadRequestError)
  await assert.rejects(daytona.create({ snapshot: 'no-such-snapshot' }), DaytonaBadRequestError)
  await assert.rejects(new Daytona({ apiKey: 'wrong' }).get(name), DaytonaAuthenticationError)
})

test('a time to live is set and taken back', async (t) => {
  const sandbox = await create(t, { ttlMinutes: 60 })
  assert.ok(new Date(sandbox.autoDestroyAt) > new Date())
  await sandbox.setTtl(0)
  await sandbox.refreshData()
  assert.equal(sandbox.autoDestroyAt, undefined)
})

test('linked sandboxes reach each other by name and end together', async (t) => {
  const parent = await create(t, { name: unique() })
  const child = await create(t, { linkedSandbox: parent.name, ephemeral: true })
  assert.equal(child.linkedSandboxId, parent.id)
  const serve = 'nohup python3 -m http.server 3000 >/dev/null 2>&1 & until curl -s localhost:3000 >/dev/null; do :; done'
  await parent.process.executeCommand(`echo hello > word; ${serve}`)
  const asked = await child.process.executeCommand(`curl -sS -m 5 http://${parent.name}:3000/word`)
  assert.equal(asked.result, 'hello\n')
  await assert.rejects(create(t, { linkedSandbox: child.id, ephemeral: true }), DaytonaBadRequestError)
  await assert.rejects(create(t, { linkedSandbox: parent.id }), DaytonaBadRequestError)
  await parent.delete()
  await gone(child)
})
