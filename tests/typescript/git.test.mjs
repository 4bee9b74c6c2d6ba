import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { DaytonaGitBranchExistsError, DaytonaGitRepoNotFoundError } from '@daytonaio/sdk'
import { daytona, remove } from './sandboxes.mjs'

let sandbox
before(async () => {
  sandbox = await daytona.create()
})
after(() => remove(sandbox))

test('from init to push', async () => {
  const { git, fs } = sandbox
  await git.init('origin.git', true)
  await git.init('work', false, 'main')
  await git.configureUser('Ada', 'ada@example.com')
  await fs.uploadFile(Buffer.from('one'), 'work/a.txt')
  assert.deepEqual((await git.status('work')).fileStatus.map((status) => status.name), ['a.txt'])
  await git.add('work', ['a.txt'])
  const { sha } = await git.commit('work', 'first', 'Ada', 'ada@example.com')
  assert.match(sha, /^[0-9a-f]{40}$/)
  await git.remoteAdd('work', 'origin', '/home/daytona/origin.git')
  await git.push('work', undefined, undefined, 'main', 'origin', true)
  await git.clone('/home/daytona/origin.git', 'copy', 'main')
  assert.equal((await git.status('copy')).currentBranch, 'main')
  await git.createBranch('copy', 'topic')
  await assert.rejects(git.createBranch('copy', 'topic'), DaytonaGitBranchExistsError)
  await git.checkoutBranch('copy', 'main')
  assert.ok((await git.branches('copy')).branches.includes('topic'))
  await git.deleteBranch('copy', 'topic')
  await git.pull('copy')
  await assert.rejects(git.status('/tmp'), DaytonaGitRepoNotFoundError)
})

test('settings and states', async () => {
  const { git, fs } = sandbox
  const commit = async (text) => {
    await fs.uploadFile(Buffer.from(text), 'states/a.txt')
    await git.add('states', ['a.txt'])
    await git.commit('states', text, 'Ada', 'ada@example.com')
  }
  await git.init('states', false, 'main')
  await git.setConfig('sebring.test', 'a value', 'local', 'states')
  assert.equal(await git.getConfig('sebring.test', 'local', 'states'), 'a value')
  await git.remoteAdd('states', 'origin', '/home/daytona/states.git')
  assert.deepEqual((await git.remotes('states')).remotes.map((remote) => remote.name), ['origin'])
  assert.equal(await git.remoteGet('states', 'origin'), '/home/daytona/states.git')
  await commit('one')
  await commit('two')
  await fs.uploadFile(Buffer.from('three'), 'states/a.txt')
  await git.restore('states', ['a.txt'])
  assert.equal((await fs.downloadFile('states/a.txt')).toString(), 'two')
  await git.reset('states', 'hard', 'HEAD~1')
  assert.equal((await fs.downloadFile('states/a.txt')).toString(), 'one')
  await git.dangerouslyAuthenticate('user', 'secret', 'example.com', 'https')
  assert.match((await fs.downloadFile('.git-credentials')).toString(), /user:secret@example\.com/)
})
