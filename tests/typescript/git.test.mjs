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
