import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { DaytonaLspServerNotInitializedError } from '@daytonaio/sdk'
import { daytona, remove, unique } from './sandboxes.mjs'

let sandbox
before(async () => {
  sandbox = await daytona.create()
})
after(() => remove(sandbox))

const source = `export class Greeter {
  greet(name: string): string {
    return name
  }
}
new Greeter().
`

test('symbols and completions', async () => {
  const project = unique()
  await sandbox.fs.uploadFile(Buffer.from(source), `${project}/main.ts`)
  await sandbox.fs.uploadFile(Buffer.from('{}'), `${project}/tsconfig.json`)
  const server = await sandbox.createLspServer('typescript', project)
  await server.start()
  await server.didOpen(`${project}/main.ts`)
  const names = (symbols) => symbols.map((symbol) => symbol.name)
  assert.ok(names(await server.documentSymbols(`${project}/main.ts`)).includes('Greeter'))
  assert.ok(names(await server.sandboxSymbols('greet')).includes('Greeter'))
  assert.ok(names(await server.workspaceSymbols('greet')).includes('Greeter'), 'its older name')
  const { items } = await server.completions(`${project}/main.ts`, { line: 5, character: 14 })
  assert.ok(items.some((item) => item.label === 'greet'))
  await server.didClose(`${project}/main.ts`)
  await server.stop()
  await assert.rejects(server.didOpen(`${project}/main.ts`), DaytonaLspServerNotInitializedError)
})
