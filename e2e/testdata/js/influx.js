// InfluxDB's own JavaScript client against a new server: setup, sign-in,
// organizations, users, tokens and secrets.
'use strict'

const assert = require('node:assert/strict')
const { InfluxDB, HttpError } = require('@influxdata/influxdb-client')
const {
  AuthorizationsAPI, HealthAPI, MeAPI, OrgsAPI, PingAPI, ReadyAPI, ResourcesAPI, RootAPI, SetupAPI, SigninAPI,
  SignoutAPI, UsersAPI,
} = require('@influxdata/influxdb-client-apis')
const { name, secret, confide, step } = require('./steps')

const url = process.env.E2E_URL

// refused wants an error with an HTTP status.
async function refused(status, promise) {
  await assert.rejects(promise, (e) => {
    assert.ok(e instanceof HttpError, String(e))
    assert.equal(e.statusCode, status, e.body)
    return true
  })
}

async function main() {
  const anonymous = new InfluxDB({ url })
  let influx, org, orgs, users, tokens, ann

  await step('setup', async () => {
    const setup = new SetupAPI(anonymous)
    assert.equal((await setup.getSetup()).allowed, true)
    const done = await setup.postSetup({
      body: { username: secret('admin'), password: secret('password'), org: secret('acme'), bucket: 'default' },
    })
    assert.equal((await setup.getSetup()).allowed, false)
    await refused(422, setup.postSetup({ body: { username: 'x', password: '12345678', org: 'x', bucket: 'x' } }))
    assert.equal(done.user.name, secret('admin'))
    org = done.org
    influx = new InfluxDB({ url, token: confide(done.auth.token) })
    orgs = new OrgsAPI(influx)
    users = new UsersAPI(influx)
    tokens = new AuthorizationsAPI(influx)
  })

  await step('health, readiness and routes', async () => {
    assert.equal((await new HealthAPI(influx).getHealth()).status, 'pass')
    assert.equal((await new ReadyAPI(influx).getReady()).status, 'ready')
    await new PingAPI(influx).getPing()
    assert.equal((await new RootAPI(influx).getRoutes()).orgs, '/api/v2/orgs')
    assert.ok((await new ResourcesAPI(influx).getResources()).includes('secrets'))
  })

  const list = async (api = orgs) => (await api.getOrgsIDSecrets({ orgID: org.id })).secrets

  await step('secrets: set, list, change, delete', async () => {
    const values = { [name('db')]: secret('pw'), [name('smtp')]: secret('"quoted" \\ text,\nand \u00fc\u4e16'), [name('empty')]: '' }
    await orgs.patchOrgsIDSecrets({ orgID: org.id, body: values })
    assert.deepEqual(await list(), Object.keys(values).sort())
    await orgs.patchOrgsIDSecrets({ orgID: org.id, body: { [name('db')]: secret('other'), [name('more')]: secret('v') } })
    assert.deepEqual(await list(), [...Object.keys(values), name('more')].sort())
    await orgs.deleteOrgsIDSecretsID({ orgID: org.id, secretID: name('more') })
    await orgs.deleteOrgsIDSecretsID({ orgID: org.id, secretID: name('more') })
    await orgs.postOrgsIDSecrets({ orgID: org.id, body: { secrets: [name('smtp'), name('never there')] } })
    assert.deepEqual(await list(), [name('db'), name('empty')].sort())
  })

  await step('secrets: what is refused', async () => {
    await refused(404, orgs.getOrgsIDSecrets({ orgID: '0000000000000001' }))
    await refused(400, orgs.getOrgsIDSecrets({ orgID: 'none' }))
    await refused(400, orgs.patchOrgsIDSecrets({ orgID: org.id, body: { [name('db')]: 1 } }))
    await refused(401, new OrgsAPI(new InfluxDB({ url, token: secret('wrong') })).getOrgsIDSecrets({ orgID: org.id }))
  })

  await step('organizations', async () => {
    const second = await orgs.postOrgs({ body: { name: secret('second'), description: 'one more' } })
    assert.deepEqual((await orgs.getOrgs()).orgs.map((o) => o.name).sort(), [org.name, second.name].sort())
    assert.deepEqual((await orgs.getOrgs({ org: second.name })).orgs.map((o) => o.id), [second.id])
    await orgs.patchOrgsID({ orgID: second.id, body: { name: secret('renamed') } })
    assert.equal((await orgs.getOrgsID({ orgID: second.id })).name, secret('renamed'))
    await refused(422, orgs.postOrgs({ body: { name: org.name } }))
    await orgs.patchOrgsIDSecrets({ orgID: second.id, body: { [name('db')]: secret('of another') } })
    await orgs.deleteOrgsID({ orgID: second.id })
    await refused(404, orgs.getOrgsID({ orgID: second.id }))
  })

  await step('users, members and owners', async () => {
    ann = await users.postUsers({ body: { name: secret('ann') } })
    await users.postUsersIDPassword({ userID: ann.id, body: { password: secret('password of ann') } })
    assert.deepEqual((await users.getUsers()).users.map((u) => u.name).sort(), [secret('admin'), secret('ann')])
    assert.equal((await users.getUsersID({ userID: ann.id })).status, 'active')
    await orgs.postOrgsIDOwners({ orgID: org.id, body: { id: ann.id } })
    assert.equal((await orgs.getOrgsIDOwners({ orgID: org.id })).users.length, 2)
    await orgs.deleteOrgsIDOwnersID({ orgID: org.id, userID: ann.id })
    await orgs.postOrgsIDMembers({ orgID: org.id, body: { id: ann.id } })
    assert.deepEqual((await orgs.getOrgsIDMembers({ orgID: org.id })).users.map((u) => u.id), [ann.id])
  })

  await step('sign in and out', async () => {
    const signIn = new SigninAPI(anonymous)
    await refused(401, signIn.postSignin({ auth: { user: secret('ann'), password: secret('wrong') } }))
    let cookie
    await signIn.postSignin(
      { auth: { user: secret('ann'), password: secret('password of ann') } },
      { responseStarted: (headers) => { cookie = String(headers['set-cookie']).split(';')[0] } },
    )
    const session = { headers: { Cookie: cookie } }
    const me = new MeAPI(anonymous)
    assert.equal((await me.getMe({}, session)).name, secret('ann'))
    assert.deepEqual((await new OrgsAPI(anonymous).getOrgsIDSecrets({ orgID: org.id }, session)).secrets, [name('db'), name('empty')].sort())
    await refused(401, new OrgsAPI(anonymous).patchOrgsIDSecrets({ orgID: org.id, body: { [name('db')]: 'x' } }, session))
    await new SignoutAPI(anonymous).postSignout({}, session)
    await refused(401, me.getMe({}, session))
  })

  await step('tokens', async () => {
    const reader = await tokens.postAuthorizations({
      body: {
        orgID: org.id,
        description: 'a reader',
        permissions: [
          { action: 'read', resource: { type: 'orgs', id: org.id } },
          { action: 'read', resource: { type: 'secrets', orgID: org.id } },
        ],
      },
    })
    const its = new OrgsAPI(new InfluxDB({ url, token: confide(reader.token) }))
    assert.deepEqual(await list(its), [name('db'), name('empty')].sort())
    await refused(401, its.patchOrgsIDSecrets({ orgID: org.id, body: { [name('db')]: 'x' } }))
    await tokens.patchAuthorizationsID({ authID: reader.id, body: { status: 'inactive' } })
    await refused(404, list(its)) // InfluxDB too: it may do nothing, and so sees nothing
    await tokens.patchAuthorizationsID({ authID: reader.id, body: { status: 'active', description: 'again' } })
    await list(its)
    const found = await tokens.getAuthorizationsID({ authID: reader.id })
    assert.deepEqual([found.status, found.description, found.permissions.length], ['active', 'again', 2])
    assert.equal((await tokens.getAuthorizations({ orgID: org.id })).authorizations.length, 2)
    await tokens.deleteAuthorizationsID({ authID: reader.id })
    await refused(401, list(its))
  })

  await step('a user is renamed, made inactive and deleted', async () => {
    await users.patchUsersID({ userID: ann.id, body: { name: secret('anne'), status: 'inactive' } })
    assert.equal((await users.getUsersID({ userID: ann.id })).status, 'inactive')
    await users.deleteUsersID({ userID: ann.id })
    await refused(404, users.getUsersID({ userID: ann.id }))
  })
}

main().catch((e) => {
  console.error(e)
  process.exit(1)
})
