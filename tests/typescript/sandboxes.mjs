// One client for each file, and sandboxes that are gone when the test ends.

import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import './calls.mjs'
import { Daytona, DaytonaNotFoundError } from '@daytonaio/sdk'

export const daytona = new Daytona()

export const unique = () => `t-${randomBytes(6).toString('hex')}`

/** A sandbox for the test `t`, deleted after it. */
export async function create(t, params) {
  const sandbox = await daytona.create(params)
  t.after(() => remove(sandbox))
  return sandbox
}

export async function remove(sandbox) {
  try {
    await sandbox.delete()
  } catch (error) {
    if (!(error instanceof DaytonaNotFoundError)) throw error
  }
}

/** Waits until the API no longer knows it: a delete is answered before all of it is done. */
export async function gone(sandbox) {
  const end = performance.now() + 5000
  while (performance.now() < end) {
    try {
      await daytona.get(sandbox.id)
    } catch (error) {
      if (error instanceof DaytonaNotFoundError) return
      throw error
    }
    await setTimeout(20)
  }
  throw new Error('still there after 5 s')
}
