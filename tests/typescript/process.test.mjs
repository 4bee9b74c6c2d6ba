import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { DaytonaProcessExecutionTimeoutError } from '@daytonaio/sdk'
import { create, daytona, remove } from './sandboxes.mjs'

let sandbox
before(async () => {
  sandbox = await daytona.create()
})
after(() => remove(sandbox))

test('output and exit code', async () => {
  const answer = await sandbox.process.executeCommand('echo 1; echo 2 >&2; exit 3')
  assert.deepEqual([answer.exitCode, answer.result], [3, '1\n2\n'])
  assert.equal(answer.artifacts.stdout, '1\n2\n')
})

test('directory and environment', async () => {
  const answer = await sandbox.process.executeCommand('pwd; echo "$A"', '/tmp', { A: "it's  $HOME" })
  assert.equal(answer.result, "/tmp\nit's  $HOME\n")
})

test('timeout', async () => {
  const began = performance.now()
  await assert.rejects(
    sandbox.process.executeCommand('sleep 100', undefined, undefined, 1),
    DaytonaProcessExecutionTimeoutError,
  )
  assert.ok(performance.now() - began < 2000)
})

test('side by side', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => sandbox.process.executeCommand(`sleep 0.3; echo ${n}`)),
  )
  assert.deepEqual(answers.map((answer) => answer.result), Array.from({ length: 20 }, (_, n) => `${n}\n`))
})

const programs = {
  python: ["import sys, os; print(sys.argv[1], os.environ['X'])", 'raise ValueError("broken")'],
  javascript: ['console.log(process.argv[2], process.env.X)', 'throw new TypeError("broken")'],
  typescript: ['const a: string = process.argv[2]; console.log(a, process.env.X)', 'throw new TypeError("broken")'],
}
for (const [language, [prints, throws]] of Object.entries(programs)) {
  test(`code in ${language}`, async (t) => {
    const box = await create(t, { language })
    const answer = await box.process.codeRun(prints, { argv: ['one two'], env: { X: 'y' } })
    assert.deepEqual([answer.exitCode, answer.result], [0, 'one two y\n'])
    const thrown = await box.process.codeRun(throws)
    assert.equal(thrown.exitCode, 1)
    assert.match(thrown.result, /broken/)
    await assert.rejects(
      box.process.codeRun(language === 'python' ? 'while True: pass' : 'while (true) {}', undefined, 1),
      DaytonaProcessExecutionTimeoutError,
    )
  })
}
