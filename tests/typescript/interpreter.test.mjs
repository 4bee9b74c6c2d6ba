import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { DaytonaTimeoutError } from '@daytonaio/sdk'
import { daytona, remove } from './sandboxes.mjs'

let sandbox
before(async () => {
  sandbox = await daytona.create()
})
after(() => remove(sandbox))

test('state, output and errors', async () => {
  const seen = []
  const first = await sandbox.codeInterpreter.runCode("x = 41\nprint('out')", {
    onStdout: (message) => seen.push(message.output),
  })
  assert.equal(first.stdout, 'out\n')
  assert.equal(seen.join(''), 'out\n')
  assert.equal((await sandbox.codeInterpreter.runCode('print(x + 1)')).stdout, '42\n')
  const failed = await sandbox.codeInterpreter.runCode('1/0')
  assert.equal(failed.error.name, 'ZeroDivisionError')
})

test('contexts are apart', async () => {
  const context = await sandbox.codeInterpreter.createContext('/tmp')
  const answer = await sandbox.codeInterpreter.runCode('import os; print(os.getcwd())', { context })
  assert.equal(answer.stdout, '/tmp\n')
  assert.ok((await sandbox.codeInterpreter.listContexts()).some((found) => found.id === context.id))
  await sandbox.codeInterpreter.deleteContext(context)
})

test('timeout leaves it usable', async () => {
  await assert.rejects(sandbox.codeInterpreter.runCode('while True: pass', { timeout: 1 }), DaytonaTimeoutError)
  assert.equal((await sandbox.codeInterpreter.runCode("print('usable')")).stdout, 'usable\n')
})

test('a process that dies is an error', async () => {
  const context = await sandbox.codeInterpreter.createContext()
  await assert.rejects(sandbox.codeInterpreter.runCode('import os; os._exit(1)', { context }))
})

test('exits', async () => {
  assert.equal((await sandbox.codeInterpreter.runCode('import sys; sys.exit(0)')).error, undefined)
  assert.equal((await sandbox.codeInterpreter.runCode('import sys; sys.exit(3)')).error.value, '3')
})
