// The main methods of the TypeScript SDK that is installed beside this file's copy: one line of JSON that says of each
// "ok", "absent" or what it failed with. Its arguments are the SDK's package, the git server of the tests, and the label
// of what is made here.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

const [, , sdk, gitServer, name] = process.argv
const { Daytona } = await import(sdk)
const { version } = JSON.parse(readFileSync(`node_modules/${sdk}/package.json`, 'utf8'))
// Before, both streams of a session's command were one text.
const apart = Number(version.split('.')[1]) >= 27

const client = new Daytona()
let sandbox

class Absent extends Error {}

// A method that only some versions have.
const method = (of, called) => {
  if (typeof of?.[called] !== 'function') throw new Absent()
  return of[called].bind(of)
}

const ids = async (found) => {
  const all = []
  for await (const one of found?.[Symbol.asyncIterator] ? found : (found.items ?? found)) all.push(one.id)
  return all
}

const run = (command, runAsync) => sandbox.process.executeSessionCommand('walk', { command, runAsync })
// What comes at once, 0.21 loses of itself.
const background = async () => (await run('echo out; sleep 0.2; echo err >&2', true)).cmdId

const steps = {
  async create() {
    const labels = { walk: name }
    sandbox = await client.create({ language: 'typescript', envVars: { GIVEN: 'yes' }, labels, autoStopInterval: 15 })
  },
  async get() {
    assert.equal((await client.get(sandbox.id)).id, sandbox.id)
  },
  async list_all() {
    assert.ok((await ids(await client.list())).includes(sandbox.id))
  },
  async list_by_label() {
    // A filter once was the labels themselves, and became a query when the list became one that is read by and by.
    const all = client.list({})
    const query = all[Symbol.asyncIterator] ? { labels: { walk: name } } : { walk: name }
    await all
    assert.deepEqual(await ids(await client.list(query)), [sandbox.id])
  },
  async execute() {
    const answer = await sandbox.process.executeCommand('echo "$GIVEN $EXTRA"; pwd', '/tmp', { EXTRA: 'more' })
    assert.deepEqual([answer.exitCode, answer.result.trim()], [0, 'yes more\n/tmp'])
    assert.equal((await sandbox.process.executeCommand('exit 3')).exitCode, 3)
  },
  async code_run() {
    const answer = await sandbox.process.codeRun('const six: number = 6; console.log(six * 7)')
    assert.equal(answer.result.trim(), '42')
  },
  async session() {
    await sandbox.process.createSession('walk')
    assert.equal((await run('export KEPT=1; cd /tmp')).exitCode, 0)
    const answer = await run('echo $KEPT $(pwd); false')
    // Versions with a `stdout` of its own leave the marks of the streams in `output`.
    assert.deepEqual([answer.exitCode, (answer.stdout ?? answer.output).trim()], [1, '1 /tmp'])
    assert.equal((await sandbox.process.getSession('walk')).commands.length, 2)
  },
  async session_follow() {
    const command = await background()
    let [out, err] = ['', '']
    const hear = [(chunk) => { out += chunk }, (chunk) => { err += chunk }]
    await sandbox.process.getSessionCommandLogs('walk', command, ...hear)
    if (apart) assert.deepEqual([out, err], ['out\n', 'err\n'])
    else assert.deepEqual(out.trim().split('\n').sort(), ['err', 'out'])
    assert.equal((await sandbox.process.getSessionCommand('walk', command)).exitCode, 0)
  },
  async session_logs() {
    const command = await background()
    // A session's commands run one after another: what the first one said is whole after this.
    await run('true')
    const logs = await sandbox.process.getSessionCommandLogs('walk', command)
    if (!apart) assert.deepEqual(logs.trim().split('\n').sort(), ['err', 'out'])
    else assert.deepEqual([logs.stdout, logs.stderr], ['out\n', 'err\n'])
    await sandbox.process.deleteSession('walk')
  },
  async upload() {
    await sandbox.fs.createFolder('walk', '755')
    await sandbox.fs.uploadFile(Buffer.from('one two'), 'walk/a.txt')
    await sandbox.fs.uploadFiles([{ source: Buffer.from('three'), destination: 'walk/b.txt' }])
  },
  async download() {
    assert.equal((await sandbox.fs.downloadFile('walk/a.txt')).toString(), 'one two')
  },
  async list_files() {
    assert.deepEqual((await sandbox.fs.listFiles('walk')).map((file) => file.name).sort(), ['a.txt', 'b.txt'])
    assert.equal((await sandbox.fs.getFileDetails('walk/b.txt')).size, 5)
  },
  async find() {
    const { fs } = sandbox
    assert.deepEqual((await fs.findFiles('walk', 'two')).map((match) => match.line), [1])
    assert.deepEqual((await fs.searchFiles('walk', 'b.*')).files.map((path) => path.split('/').at(-1)), ['b.txt'])
  },
  async change_files() {
    const { fs } = sandbox
    await fs.replaceInFiles(['walk/a.txt'], 'two', 'four')
    await fs.moveFiles('walk/a.txt', 'walk/c.txt')
    await fs.setFilePermissions('walk/c.txt', { mode: '600' })
    assert.equal((await fs.downloadFile('walk/c.txt')).toString(), 'one four')
    await fs.deleteFile('walk/c.txt')
    assert.deepEqual((await fs.listFiles('walk')).map((file) => file.name), ['b.txt'])
  },
  async git_clone() {
    await sandbox.fs.uploadFile(readFileSync(gitServer), 'git_server.py')
    const made = await sandbox.process.executeCommand(
      'cd && git init -q -b main seed && cd seed && echo x >x && git add x' +
        ' && git -c user.name=Ada -c user.email=a@example.com commit -qm first' +
        ' && git clone -q --bare . ../served/seed.git && cd && mkfifo up' +
        ' && (setsid python3 git_server.py served 8418 >up 2>git.log </dev/null &) && head -n 1 up',
    )
    assert.deepEqual([made.exitCode, made.result.trim()], [0, 'listening'])
    const url = 'http://127.0.0.1:8418/seed.git'
    await sandbox.git.clone(url, 'cloned', undefined, undefined, 'user', 'secret')
    assert.equal((await sandbox.fs.downloadFile('cloned/x')).toString(), 'x\n')
  },
  async git_status() {
    const { git } = sandbox
    await sandbox.fs.uploadFile(Buffer.from('y'), 'cloned/y')
    assert.deepEqual((await git.status('cloned')).fileStatus.map((file) => file.name), ['y'])
    await git.add('cloned', ['y'])
    await git.commit('cloned', 'second', 'Ada', 'ada@example.com')
    const { currentBranch, fileStatus } = await git.status('cloned')
    assert.deepEqual([currentBranch, fileStatus ?? []], ['main', []])
    assert.ok((await git.branches('cloned')).branches.includes('main'))
  },
  async terminal() {
    let shown = ''
    const onData = (data) => { shown += Buffer.from(data).toString() }
    const pty = await method(sandbox.process, 'createPty')({ id: 'walk', onData })
    await pty.waitForConnection()
    await pty.sendInput('echo $((6 * 7)); exit\n')
    await pty.wait()
    assert.match(shown, /42/)
  },
  async interpreter() {
    const runCode = method(sandbox.codeInterpreter, 'runCode')
    await runCode('kept = 41')
    assert.equal((await runCode('print(kept + 1)')).stdout, '42\n')
  },
  async preview_link() {
    assert.ok((await sandbox.getPreviewLink(3000)).url)
  },
  async labels() {
    await sandbox.setLabels({ walk: name, more: 'yes' })
    assert.deepEqual((await client.get(sandbox.id)).labels, { walk: name, more: 'yes' })
  },
  async auto_stop() {
    await sandbox.setAutostopInterval(30)
    assert.equal((await client.get(sandbox.id)).autoStopInterval, 30)
  },
  async stop() {
    await sandbox.stop()
    assert.equal(sandbox.state, 'stopped')
  },
  async start() {
    await sandbox.start()
    assert.equal((await sandbox.fs.downloadFile('walk/b.txt')).toString(), 'three')
  },
  async errors() {
    await assert.rejects(client.get('no-such-sandbox'), /not found/i)
    await assert.rejects(sandbox.fs.downloadFile('none'), /not found|no such|status code 404/i)
  },
  async delete() {
    await client.delete(sandbox)
    // It is answered before all of it is gone.
    const state = await client.get(sandbox.id).then((found) => found.state, (error) => String(error))
    assert.match(state, /destroy|not found/i)
  },
}

const report = {}
for (const [step, walk] of Object.entries(steps)) {
  try {
    await walk()
    report[step] = 'ok'
  } catch (error) {
    report[step] = error instanceof Absent ? 'absent' : String(error)
    if (!(error instanceof Absent)) console.error(error)
    if (!sandbox) break
  }
}
console.log(JSON.stringify(report))
// Old versions keep connections open.
process.exit(0)
