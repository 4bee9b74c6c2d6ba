import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { DaytonaConnectionError, DaytonaNotFoundError } from '@daytonaio/sdk'
import { daytona, remove, unique } from './sandboxes.mjs'

let sandbox
before(async () => {
  sandbox = await daytona.create()
})
after(() => remove(sandbox))

/** Collects what a terminal shows; `until(text)` waits for it. */
class Screen {
  shown = ''
  #waiting = new Set()
  #decoder = new TextDecoder()

  onData = (data) => {
    this.shown += this.#decoder.decode(data, { stream: true })
    for (const check of this.#waiting) check()
  }

  until(text) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`never shown: ${text}\n${this.shown}`)), 10_000)
      const check = () => {
        if (!this.shown.includes(text)) return
        clearTimeout(timer)
        this.#waiting.delete(check)
        resolve()
      }
      this.#waiting.add(check)
      check()
    })
  }
}

async function open(t, options = {}) {
  const screen = new Screen()
  const handle = await sandbox.process.createPty({ id: unique(), onData: screen.onData, ...options })
  await handle.waitForConnection()
  t.after(async () => {
    await handle.kill().catch(() => {})
    await handle.disconnect()
  })
  return { handle, screen }
}

test('type and see', async (t) => {
  const { handle, screen } = await open(t, { cwd: '/tmp', envs: { GREETING: 'hello ü' }, cols: 132, rows: 40 })
  await handle.sendInput('echo [$PWD] [$GREETING] size=$(stty size)\n')
  await screen.until('[/tmp] [hello ü] size=40 132')
  await handle.resize(100, 30)
  await handle.sendInput('echo now=$(stty size)\n')
  await screen.until('now=30 100')
  assert.equal((await sandbox.process.resizePtySession(handle.sessionId, 90, 11)).cols, 90)
  await handle.sendInput('echo then=$(stty size)\n')
  await screen.until('then=11 90')
})

test('exit code', async (t) => {
  const { handle } = await open(t)
  assert.equal(handle.isConnected(), true)
  await handle.sendInput('exit 7\n')
  assert.equal((await handle.wait()).exitCode, 7)
  assert.deepEqual([handle.exitCode, handle.error, handle.isConnected()], [7, 'non-zero exit', false])
})

test('come back', async (t) => {
  const { handle, screen } = await open(t)
  await handle.sendInput('X=kept; echo marker-$((1+1))\n')
  await screen.until('marker-2')
  await handle.disconnect()
  const second = new Screen()
  const again = await sandbox.process.connectPty(handle.sessionId, { onData: second.onData })
  await again.waitForConnection()
  await again.sendInput('echo [$X]\n')
  await second.until('[kept]')
  await again.disconnect()
})

test('list, kill and errors', async (t) => {
  const { handle } = await open(t)
  const listed = await sandbox.process.listPtySessions()
  assert.ok(listed.some((info) => info.id === handle.sessionId && info.active))
  // The SDK does not look at the status of a refused upgrade.
  await assert.rejects(
    sandbox.process.createPty({ id: handle.sessionId, onData() {} }).then((again) => again.waitForConnection()),
    DaytonaConnectionError,
  )
  await sandbox.process.killPtySession(handle.sessionId)
  await handle.wait()
  await assert.rejects(sandbox.process.getPtySessionInfo(handle.sessionId), DaytonaNotFoundError)
})
