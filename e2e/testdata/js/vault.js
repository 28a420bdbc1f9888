// node-vault, a JavaScript client of Vault, which checks many answers against
// schemas, against a server that is set up.
'use strict'

const assert = require('node:assert/strict')
const { name, secret, confide, step } = require('./steps')

const { E2E_URL: endpoint, E2E_ORG: org, E2E_ORG_NAME: orgName } = process.env
const client = (token) => require('node-vault')({ endpoint, token })

async function refused(status, promise) {
  await assert.rejects(promise, (e) => {
    assert.equal(e.response && e.response.statusCode, status, String(e))
    return true
  })
}

async function main() {
  const vault = client(process.env.E2E_TOKEN)

  await step('status', async () => {
    const health = await vault.health()
    assert.equal(health.initialized, true)
    const status = await vault.status()
    assert.equal(status.sealed, false)
    assert.equal(status.cluster_id, health.cluster_id)
    assert.equal((await vault.initialized()).initialized, true)
  })

  await step('mounts and ways to authenticate', async () => {
    assert.equal((await vault.mounts())['secret/'].type, 'kv')
    assert.equal((await vault.auths())['approle/'].type, 'approle')
  })

  const data = { [name('db')]: secret('pw') }
  await step('write, read and list', async () => {
    await refused(404, vault.read(`secret/data/${orgName}`))
    await vault.write(`secret/data/${orgName}`, { data })
    assert.deepEqual((await vault.read(`secret/data/${orgName}`)).data.data, data)
    assert.deepEqual((await vault.read(`secret/data/${org}`)).data.data, data)
    assert.deepEqual((await vault.list('secret/metadata')).data.keys, [orgName])
  })

  await step('a doubled slash', async () => {
    const doubled = require('node-vault')({ endpoint: endpoint + '/', token: process.env.E2E_TOKEN })
    assert.deepEqual((await doubled.read(`secret/data/${orgName}`)).data.data, data)
  })

  let child
  await step('a child token', async () => {
    const { auth } = await vault.tokenCreate({ ttl: '20m', renewable: false })
    child = client(confide(auth.client_token))
    assert.equal(auth.lease_duration, 1200)
    assert.deepEqual((await child.read(`secret/data/${orgName}`)).data.data, data)
    assert.equal((await vault.tokenLookup({ token: auth.client_token })).data.accessor, auth.accessor)
    assert.equal((await vault.tokenLookupAccessor({ accessor: auth.accessor })).data.id, '')
    assert.equal((await child.tokenLookupSelf()).data.renewable, false)
  })

  await step('revoke it', async () => {
    await child.tokenRevokeSelf()
    await refused(403, child.read(`secret/data/${orgName}`))
  })

  await step('AppRole', async () => {
    const login = await client().approleLogin({ role_id: process.env.E2E_READER_ID, secret_id: process.env.E2E_READER })
    const reader = client(confide(login.auth.client_token))
    assert.deepEqual((await reader.read(`secret/data/${org}`)).data.data, data)
    await refused(403, reader.write(`secret/data/${org}`, { data: {} }))
    await reader.tokenRenewSelf()
  })

  await step('delete', async () => {
    const vault = client(process.env.E2E_TOKEN) // creating a token has replaced the other client's
    await vault.delete(`secret/metadata/${orgName}`)
    await refused(404, vault.read(`secret/data/${orgName}`))
  })
}

main().catch((e) => {
  console.error(e)
  process.exitCode = 1
})
