// What the scripts of this folder share: the texts to use, and steps that report
// themselves.
'use strict'

const fs = require('node:fs')

// name returns a secret's name, which may be seen in the audit log alone.
exports.name = (prefix) => `${prefix}_${process.env.E2E_NAME}`

// secret returns a text that must not be seen anywhere: a value, a password, a user.
exports.secret = (prefix) => `${prefix}-${process.env.E2E_PRIVATE}`

// confide reports a token to the test, which then searches the disk for it.
exports.confide = (token) => {
  fs.appendFileSync(process.env.E2E_TOKENS, token + '\n')
  return token
}

// step runs a step, and prints its title when it is done.
exports.step = async (title, fn) => {
  await fn()
  console.log('ok', title)
}
