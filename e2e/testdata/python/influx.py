"""InfluxDB's own Python client against a new server: setup, organizations,
users, tokens and secrets."""

import base64
import urllib.error
import urllib.request

from influxdb_client import (
    AddResourceMemberRequestBody,
    Authorization,
    InfluxDBClient,
    OnboardingRequest,
    PasswordResetBody,
    Permission,
    PermissionResource,
    SecretKeys,
    User,
)
from influxdb_client.rest import ApiException
from influxdb_client.service.organizations_service import OrganizationsService
from influxdb_client.service.resources_service import ResourcesService
from influxdb_client.service.secrets_service import SecretsService
from influxdb_client.service.setup_service import SetupService
from influxdb_client.service.users_service import UsersService

from steps import URL, confide, name, private, refused, same, step


def status(code):
    return lambda e: e.status == code


def permission(action, kind, **resource):
    return Permission(action=action, resource=PermissionResource(type=kind, **resource))


with step("setup"):
    with InfluxDBClient(url=URL) as anonymous:
        setup = SetupService(anonymous.api_client)
        same(setup.get_setup().allowed, True)
        done = setup.post_setup(
            OnboardingRequest(username=private("admin"), password=private("first password"), org=private("acme"), bucket="default")
        )
        same(setup.get_setup().allowed, False)
        with refused(ApiException, status(422)):
            setup.post_setup(OnboardingRequest(username="x", password="12345678", org="x", bucket="x"))
    same(done.user.name, private("admin"))
    same(done.org.name, private("acme"))
    token, org = confide(done.auth.token), done.org

client = InfluxDBClient(url=URL, token=token, org=org.name)
secrets = SecretsService(client.api_client)
orgs, users, tokens = client.organizations_api(), client.users_api(), client.authorizations_api()

with step("health, version and readiness"):
    same(client.health().status, "pass")
    same(client.ping(), True)
    same(client.version()[:2], "v2")
    same(client.ready().status, "ready")

with step("secrets: set, list, change, delete"):
    values = {name("db"): private("pw"), name("smtp"): private('"quoted" \\ text,\nand more: \u00fc\u4e16'), name("empty"): ""}
    secrets.patch_orgs_id_secrets(org.id, values)
    same(secrets.get_orgs_id_secrets(org.id).secrets, sorted(values))
    secrets.patch_orgs_id_secrets(org.id, {name("db"): private("other pw"), name("more"): private("v")})
    same(secrets.get_orgs_id_secrets(org.id).secrets, sorted([*values, name("more")]))
    secrets.delete_orgs_id_secrets_id(org.id, name("more"))
    secrets.delete_orgs_id_secrets_id(org.id, name("more"))
    secrets.post_orgs_id_secrets(org.id, SecretKeys(secrets=[name("smtp"), name("never there")]))
    same(secrets.get_orgs_id_secrets(org.id).secrets, sorted([name("db"), name("empty")]))

with step("secrets: names that a path has to escape"):
    odd = [name("with/slash"), name("with space"), name("with?query#and%25"), name("\u00fc\u4e16")]
    secrets.patch_orgs_id_secrets(org.id, {n: private("v") for n in odd})
    for n in odd:
        secrets.delete_orgs_id_secrets_id(org.id, n)
    same(secrets.get_orgs_id_secrets(org.id).secrets, sorted([name("db"), name("empty")]))

with step("secrets: what is refused"):
    with refused(ApiException, status(404)):
        secrets.get_orgs_id_secrets("0000000000000001")
    with refused(ApiException, status(400)):
        secrets.get_orgs_id_secrets("none")
    with refused(ApiException, status(400)):
        secrets.patch_orgs_id_secrets(org.id, {name("db"): 1})
    with InfluxDBClient(url=URL, token=private("wrong")) as stranger, refused(ApiException, status(401)):
        SecretsService(stranger.api_client).get_orgs_id_secrets(org.id)

with step("organizations"):
    second = orgs.create_organization(name=private("second"))
    same(sorted(o.name for o in orgs.find_organizations()), sorted([org.name, second.name]))
    same([o.id for o in orgs.find_organizations(org=second.name)], [second.id])
    second.name, second.description = private("renamed"), "with a description"
    orgs.update_organization(second)
    found = orgs.find_organization(second.id)
    same((found.name, found.description), (private("renamed"), "with a description"))
    with refused(ApiException, status(422)):
        orgs.create_organization(name=org.name)
    secrets.patch_orgs_id_secrets(second.id, {name("db"): private("of another organization")})
    orgs.delete_organization(second.id)
    with refused(ApiException, status(404)):
        secrets.get_orgs_id_secrets(second.id)

with step("users, members and owners"):
    ann = users.create_user(private("ann"))
    users.update_password(ann, private("password of ann"))
    same(sorted(u.name for u in users.find_users().users), sorted([private("admin"), private("ann")]))
    same([u.id for u in users.find_users(name=private("ann")).users], [ann.id])
    members = OrganizationsService(client.api_client)
    members.post_orgs_id_members(org.id, AddResourceMemberRequestBody(id=ann.id))
    same([m.id for m in members.get_orgs_id_members(org.id).users], [ann.id])
    members.delete_orgs_id_members_id(ann.id, org.id)
    same(members.get_orgs_id_members(org.id).users, [])
    members.post_orgs_id_owners(org.id, AddResourceMemberRequestBody(id=ann.id))
    same(sorted(m.name for m in members.get_orgs_id_owners(org.id).users), sorted([private("admin"), private("ann")]))
    members.delete_orgs_id_owners_id(ann.id, org.id)
    members.post_orgs_id_members(org.id, AddResourceMemberRequestBody(id=ann.id))
    same(users.me().name, private("admin"))

with step("sign in and out, with a password of her own"):
    with InfluxDBClient(url=URL, username=private("ann"), password=private("password of ann")) as hers:
        same(hers.users_api().me().name, private("ann"))
        same(SecretsService(hers.api_client).get_orgs_id_secrets(org.id).secrets, sorted([name("db"), name("empty")]))
        basic = base64.b64encode(f"{private('ann')}:{private('password of ann')}".encode()).decode()
        UsersService(hers.api_client).put_me_password(
            PasswordResetBody(private("new password of ann")), authorization="Basic " + basic
        )
    with InfluxDBClient(url=URL, username=private("ann"), password=private("password of ann")) as hers:
        with refused(ApiException, status(401)):
            hers.users_api().me()
    with InfluxDBClient(url=URL, username=private("ann"), password=private("new password of ann")) as hers:
        same(hers.users_api().me().name, private("ann"))
        cookie = hers.api_client.cookie
        me = urllib.request.Request(URL + "/api/v2/me", headers={"Cookie": cookie})
        same(urllib.request.urlopen(me).status, 200)
    # The client has signed out.
    with refused(urllib.error.HTTPError, lambda e: e.code == 401):
        urllib.request.urlopen(me)

with step("tokens"):
    reader = tokens.create_authorization(
        org_id=org.id, permissions=[permission("read", "orgs", id=org.id), permission("read", "secrets", org_id=org.id)]
    )
    confide(reader.token)
    with InfluxDBClient(url=URL, token=reader.token) as limited:
        its = SecretsService(limited.api_client)
        same(its.get_orgs_id_secrets(org.id).secrets, sorted([name("db"), name("empty")]))
        with refused(ApiException, status(401)):
            its.patch_orgs_id_secrets(org.id, {name("db"): "x"})
        reader.status = "inactive"
        tokens.update_authorization(reader)
        # InfluxDB too: an inactive token may do nothing, and so see nothing.
        with refused(ApiException, status(404)):
            its.get_orgs_id_secrets(org.id)
        reader.status = "active"
        tokens.update_authorization(reader)
        its.get_orgs_id_secrets(org.id)
        same(tokens.find_authorization_by_id(reader.id).status, "active")
        same(len(tokens.find_authorizations_by_org(org)), 2)
        same({a.user for a in tokens.find_authorizations_by_user_name(private("admin"))}, {private("admin")})
        tokens.delete_authorization(reader)
        with refused(ApiException, status(401)):
            its.get_orgs_id_secrets(org.id)
    hers = tokens.create_authorization(
        authorization=Authorization(org_id=org.id, permissions=[permission("read", "orgs", id=org.id)], description="for ann")
    )
    confide(hers.token)
    same(tokens.find_authorization_by_id(hers.id).description, "for ann")

with step("resources"):
    kinds = ResourcesService(client.api_client).get_resources()
    same({"orgs", "secrets", "users", "authorizations"} - set(kinds), set())

with step("a user is renamed, made inactive and deleted"):
    users.update_user(User(id=ann.id, name=private("anne"), status="inactive"))
    same(users.find_users(name=private("anne")).users[0].status, "inactive")
    with InfluxDBClient(url=URL, username=private("anne"), password=private("new password of ann")) as hers:
        with refused(ApiException, lambda e: e.status in (401, 403)):
            hers.users_api().me()
    users.delete_user(ann.id)
    same([u.name for u in users.find_users().users], [private("admin")])

client.close()
