// A reporter for `node --test`: the file and name of each test that failed, one a line, a tab between them.

import { relative } from 'node:path'

export default async function* failures(events) {
  for await (const { type, data } of events) {
    // A file is a test as well, which fails with those inside.
    const isFile = data?.file === undefined || data.name === data.file || data.file.endsWith(data.name)
    if (type === 'test:fail' && data.nesting === 0 && !isFile) yield `${relative('.', data.file)}\t${data.name}\n`
  }
}
