// Which public methods of the SDK the tests call. Imported, it writes the calls of its process into the folder that
// SEBRING_TEST_CALLS names; run with that folder, it fails when a method of the toolbox has no test.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const sdk = join(dirname(createRequire(import.meta.url).resolve('@daytonaio/sdk')), '..', 'esm')
const names = ['Process', 'FileSystem', 'Git', 'LspServer', 'CodeInterpreter', 'PtyHandle']

/** The methods and getters of a class; its declaration tells what is private. */
async function methods(name) {
  const { [name]: found } = await import(pathToFileURL(join(sdk, `${name}.js`)))
  const declared = readFileSync(join(sdk, `${name}.d.ts`), 'utf8')
  const hidden = new Set([...declared.matchAll(/^ {4}private (\w+);/gm)].map((match) => match[1]).concat('constructor'))
  const members = Object.entries(Object.getOwnPropertyDescriptors(found.prototype))
  return { prototype: found.prototype, members: members.filter(([member]) => !hidden.has(member)) }
}

async function count(folder) {
  const made = new Set()
  for (const name of names) {
    const { prototype, members } = await methods(name)
    for (const [member, descriptor] of members) {
      const kind = descriptor.get ? 'get' : 'value'
      const called = descriptor[kind]
      descriptor[kind] = function (...given) {
        // Where a test makes the call: the SDK also calls itself.
        const caller = new Error().stack.split('\n')[2]
        if (caller.includes(here) && !caller.includes('node_modules')) made.add(`${name}.${member}`)
        return called.apply(this, given)
      }
      Object.defineProperty(prototype, member, descriptor)
    }
  }
  process.on('exit', () => writeFileSync(join(folder, `${process.pid}`), [...made].join('\n')))
}

async function check(folder) {
  const made = new Set(readdirSync(folder).flatMap((file) => readFileSync(join(folder, file), 'utf8').split('\n')))
  const known = []
  for (const name of names) known.push(...(await methods(name)).members.map(([member]) => `${name}.${member}`))
  const untested = known.filter((method) => !made.has(method))
  if (untested.length > 0) {
    console.log(`no test calls ${untested.join(', ')}`)
    process.exitCode = 1
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await check(process.argv[2])
else if (process.env.SEBRING_TEST_CALLS) await count(process.env.SEBRING_TEST_CALLS)
