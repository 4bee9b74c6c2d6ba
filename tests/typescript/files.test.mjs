import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import test, { after, before } from 'node:test'
import {
  DaytonaFileAccessDeniedError,
  DaytonaFileNotFoundError,
  DaytonaInvalidFilePathError,
} from '@daytonaio/sdk'
import { daytona, remove, unique } from './sandboxes.mjs'

let sandbox, local
before(async () => {
  sandbox = await daytona.create()
  local = await mkdtemp(join(tmpdir(), 'sebring-'))
})
after(async () => {
  await remove(sandbox)
  await rm(local, { recursive: true })
})

async function folder(t) {
  const name = unique()
  await sandbox.fs.createFolder(name, '755')
  t.after(() => sandbox.fs.deleteFile(name, true))
  return name
}

async function bytes(stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

test('upload and download', async (t) => {
  const path = `${await folder(t)}/a`
  for (const content of [Buffer.alloc(0), Buffer.from('text'), randomBytes(1_000_000)]) {
    await sandbox.fs.uploadFile(content, path)
    assert.deepEqual(await sandbox.fs.downloadFile(path), content)
  }
})

test('large file by local path', async (t) => {
  const path = `${await folder(t)}/large`
  const content = randomBytes(32 << 20)
  await writeFile(join(local, 'large'), content)
  await sandbox.fs.uploadFile(join(local, 'large'), path)
  const sum = (await sandbox.process.executeCommand(`sha256sum < ${path}`)).result.split(' ')[0]
  assert.equal(sum, createHash('sha256').update(content).digest('hex'))
  await sandbox.fs.downloadFile(path, join(local, 'back'))
  assert.deepEqual(await readFile(join(local, 'back')), content)
})

test('bulk', async (t) => {
  const base = await folder(t)
  const numbers = Array.from({ length: 100 }, (_, n) => n)
  await sandbox.fs.uploadFiles(
    numbers.map((n) => ({ source: Buffer.from(`file ${n}`), destination: `${base}/deep/${n}.txt` })),
  )
  const answers = await sandbox.fs.downloadFiles([
    ...numbers.map((n) => ({ source: `${base}/deep/${n}.txt` })),
    { source: `${base}/missing` },
  ])
  assert.deepEqual(answers.slice(0, 100).map((answer) => answer.result.toString()), numbers.map((n) => `file ${n}`))
  assert.ok(answers[100].error)
})

test('streams with progress', async (t) => {
  const path = `${await folder(t)}/s`
  const content = randomBytes(3_000_000)
  const sent = [], received = []
  await sandbox.fs.uploadFileStream(Readable.from([content.subarray(0, 1_000_000), content.subarray(1_000_000)]), path, {
    onProgress: (progress) => sent.push(progress.bytesSent),
  })
  const stream = await sandbox.fs.downloadFileStream(path, { onProgress: (progress) => received.push(progress) })
  assert.deepEqual(await bytes(stream), content)
  assert.equal(sent.at(-1), content.length)
  assert.equal(received.at(-1).bytesReceived, content.length)
  assert.equal(received.at(-1).totalBytes, content.length)
})

for (const name of ['with space', 'ünï-漢字-🎉', '-dash', 'per%20cent+plus&and=', `quote"s'and`, '.hidden', 'semi;$HOME']) {
  test(`the name ${name}`, async (t) => {
    const base = await folder(t)
    const path = `${base}/${name}`
    await sandbox.fs.uploadFile(Buffer.from(name), path)
    assert.equal((await sandbox.fs.downloadFile(path)).toString(), name)
    assert.equal((await bytes(await sandbox.fs.downloadFileStream(path))).toString(), name)
    assert.equal((await sandbox.fs.getFileDetails(path)).name, name)
    assert.deepEqual((await sandbox.fs.listFiles(base)).map((info) => info.name), [name])
    await sandbox.fs.moveFiles(path, `${base}/moved`)
    await sandbox.fs.deleteFile(`${base}/moved`)
  })
}

test('find, search and replace', async (t) => {
  const base = await folder(t)
  await sandbox.fs.uploadFiles([
    { source: Buffer.from('one\nneedle two\n'), destination: `${base}/a.txt` },
    { source: Buffer.from('nothing'), destination: `${base}/d/b.md` },
  ])
  const [match] = await sandbox.fs.findFiles(base, 'needle')
  assert.deepEqual([match.file.split('/').at(-1), match.line, match.content], ['a.txt', 2, 'needle two'])
  const { files } = await sandbox.fs.searchFiles(base, '*.md')
  assert.deepEqual(files.map((file) => file.split('/').at(-1)), ['b.md'])
  const results = await sandbox.fs.replaceInFiles([`${base}/a.txt`], 'needle', '$&')
  assert.equal(results[0].success, true)
  assert.equal((await sandbox.fs.downloadFile(`${base}/a.txt`)).toString(), 'one\n$& two\n')
})

test('permissions', async (t) => {
  const path = `${await folder(t)}/a`
  await sandbox.fs.uploadFile(Buffer.from('x'), path)
  await sandbox.fs.setFilePermissions(path, { mode: '750', owner: 'daytona', group: 'daytona' })
  const info = await sandbox.fs.getFileDetails(path)
  assert.deepEqual([info.permissions, info.owner, info.mode], ['0750', 'daytona', '-rwxr-x---'])
})

test('errors have their class', async () => {
  await assert.rejects(sandbox.fs.downloadFile('missing'), DaytonaFileNotFoundError)
  await assert.rejects(sandbox.fs.getFileDetails('missing'), DaytonaFileNotFoundError)
  await assert.rejects(sandbox.fs.downloadFile('/etc/shadow'), DaytonaFileAccessDeniedError)
  await assert.rejects(sandbox.fs.downloadFile('/etc'), DaytonaInvalidFilePathError)
})
