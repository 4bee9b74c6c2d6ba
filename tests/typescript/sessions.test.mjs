import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { DaytonaConflictError, DaytonaGoneError, DaytonaNotFoundError } from '@daytonaio/sdk'
import { daytona, remove, unique } from './sandboxes.mjs'

let sandbox
before(async () => {
  sandbox = await daytona.create()
})
after(() => remove(sandbox))

async function session(t) {
  const id = unique()
  await sandbox.process.createSession(id)
  t.after(() => sandbox.process.deleteSession(id).catch(() => {}))
  return id
}

test('state is kept and outputs are separate', async (t) => {
  const id = await session(t)
  await sandbox.process.executeSessionCommand(id, { command: 'cd /tmp; export A=1' })
  const answer = await sandbox.process.executeSessionCommand(id, { command: 'pwd; echo $A; echo err >&2; (exit 4)' })
  assert.deepEqual([answer.stdout, answer.stderr, answer.exitCode], ['/tmp\n1\n', 'err\n', 4])
  const found = await sandbox.process.getSession(id)
  assert.equal(found.commands.length, 2)
  assert.ok((await sandbox.process.listSessions()).some((listed) => listed.sessionId === id))
})

test('logs are followed while they are produced', async (t) => {
  const id = await session(t)
  const { cmdId } = await sandbox.process.executeSessionCommand(id, {
    command: 'echo one; sleep 0.5; echo two >&2; (exit 6)',
    runAsync: true,
  })
  let out = '', err = ''
  await sandbox.process.getSessionCommandLogs(id, cmdId, (text) => (out += text), (text) => (err += text))
  assert.deepEqual([out, err], ['one\n', 'two\n'])
  assert.equal((await sandbox.process.getSessionCommand(id, cmdId)).exitCode, 6)
  const logs = await sandbox.process.getSessionCommandLogs(id, cmdId)
  assert.deepEqual([logs.stdout, logs.stderr], ['one\n', 'two\n'])
})

test('input reaches the command', async (t) => {
  const id = await session(t)
  const { cmdId } = await sandbox.process.executeSessionCommand(id, { command: 'read a; echo "got $a"', runAsync: true })
  await sandbox.process.sendSessionCommandInput(id, cmdId, 'it')
  let out = ''
  await sandbox.process.getSessionCommandLogs(id, cmdId, (text) => (out += text), () => {})
  assert.match(out, /got it/)
})

test('the entrypoint has a session', async () => {
  assert.equal((await sandbox.process.getEntrypointSession()).sessionId, 'entrypoint')
  const { output } = await sandbox.process.getEntrypointLogs()
  let followed = ''
  const take = (text) => (followed += text)
  await sandbox.process.getEntrypointLogs(take, take)
  assert.equal(followed, output)
})

test('errors have their class', async (t) => {
  const id = await session(t)
  await assert.rejects(sandbox.process.createSession(id), DaytonaConflictError)
  await assert.rejects(sandbox.process.getSession(unique()), DaytonaNotFoundError)
  await sandbox.process.executeSessionCommand(id, { command: 'exit 3' })
  await assert.rejects(sandbox.process.executeSessionCommand(id, { command: 'true' }), DaytonaGoneError)
})
