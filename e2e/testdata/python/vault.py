"""hvac, the Python client of Vault, against a server that is set up: version 2
of the KV secrets engine, and tokens from an AppRole login."""

import os

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

from steps import URL, confide, name, private, refused, same, step

ORG = os.environ["E2E_ORG"]
TOKEN = os.environ["E2E_TOKEN"]

client = hvac.Client(url=URL, token=TOKEN)
kv = client.secrets.kv.v2


def read(path=ORG, **kwargs):
    return kv.read_secret_version(path=path, raise_on_deleted_version=True, **kwargs)["data"]


with step("health and seal status"):
    same(client.sys.is_sealed(), False)
    same(client.sys.read_health_status(method="GET")["initialized"], True)
    same(client.is_authenticated(), True)

with step("nothing is there"):
    with refused(InvalidPath, lambda e: True):
        read()
    with refused(InvalidPath, lambda e: True):
        kv.list_secrets(path="")

first = {name("db"): private("pw"), name("smtp"): private('"quoted" \\ text,\nand more: \u00fc\u4e16'), name("empty"): ""}
second = {name("db"): private("pw 2"), name("new"): private("v")}

with step("write and read"):
    same(kv.create_or_update_secret(path=ORG, secret=first)["data"]["version"], 1)
    got = read()
    same(got["data"], first)
    same(got["metadata"]["version"], 1)
    same(read(path=os.environ["E2E_ORG_NAME"])["data"], first)

with step("check and set"):
    with refused(InvalidRequest, lambda e: "check-and-set" in str(e)):
        kv.create_or_update_secret(path=ORG, secret=second, cas=0)
    same(kv.create_or_update_secret(path=ORG, secret=second, cas=1)["data"]["version"], 2)
    same(read()["data"], second)
    same(read(version=1)["data"], first)
    with refused(InvalidRequest, lambda e: "check-and-set" in str(e)):
        kv.create_or_update_secret(path=ORG, secret=first, cas=1)

with step("patch"):
    same(kv.patch(path=ORG, secret={name("patched"): private("v")})["data"]["version"], 3)
    same(read()["data"], {**second, name("patched"): private("v")})

with step("list"):
    same(len(kv.list_secrets(path="")["data"]["keys"]), 1)

with step("metadata"):
    kv.update_metadata(path=ORG, max_versions=5, cas_required=True, custom_metadata={"owner": "operations"})
    meta = kv.read_secret_metadata(path=ORG)["data"]
    same((meta["max_versions"], meta["cas_required"], meta["custom_metadata"]), (5, True, {"owner": "operations"}))
    same((meta["current_version"], sorted(meta["versions"])), (3, ["1", "2", "3"]))
    with refused(InvalidRequest, lambda e: "check-and-set" in str(e)):
        kv.create_or_update_secret(path=ORG, secret=first)
    kv.update_metadata(path=ORG, max_versions=5, cas_required=False)
    same(kv.create_or_update_secret(path=ORG, secret=first)["data"]["version"], 4)

with step("delete and undelete"):
    kv.delete_latest_version_of_secret(path=ORG)
    with refused(InvalidPath, lambda e: True):
        read()
    deleted = kv.read_secret_version(path=ORG, raise_on_deleted_version=False)["data"]
    same((deleted["data"], deleted["metadata"]["version"]), (None, 4))
    kv.undelete_secret_versions(path=ORG, versions=[4])
    same(read()["data"], first)
    kv.delete_secret_versions(path=ORG, versions=[1, 2])
    with refused(InvalidPath, lambda e: True):
        read(version=2)
    kv.undelete_secret_versions(path=ORG, versions=[2])
    same(read(version=2)["data"], second)

with step("destroy"):
    kv.destroy_secret_versions(path=ORG, versions=[2])
    same(kv.read_secret_metadata(path=ORG)["data"]["versions"]["2"]["destroyed"], True)
    kv.undelete_secret_versions(path=ORG, versions=[2])
    with refused(InvalidPath, lambda e: True):
        read(version=2)

with step("old versions go"):
    for n in range(5, 9):
        same(kv.create_or_update_secret(path=ORG, secret={name("db"): private(str(n))})["data"]["version"], n)
    same(sorted(kv.read_secret_metadata(path=ORG)["data"]["versions"]), ["4", "5", "6", "7", "8"])
    with refused(InvalidPath, lambda e: True):
        read(version=1)

with step("what is refused"):
    with refused(InvalidRequest, lambda e: name("number") in str(e)):
        kv.create_or_update_secret(path=ORG, secret={name("number"): 1})
    with refused(InvalidPath, lambda e: True):
        client.secrets.kv.v2.read_secret_version(path=ORG, mount_point="other", raise_on_deleted_version=True)
    with refused(Forbidden, lambda e: True):
        hvac.Client(url=URL, token=private("wrong")).secrets.kv.v2.read_secret_version(path=ORG, raise_on_deleted_version=True)
    same(read()["data"], {name("db"): private("8")})

with step("AppRole: login, lookup, renewal, revocation"):
    login = hvac.Client(url=URL)
    with refused(InvalidRequest, lambda e: "invalid role or secret ID" in str(e)):
        login.auth.approle.login(role_id=os.environ["E2E_READER_ID"], secret_id=private("wrong"))
    auth = login.auth.approle.login(role_id=os.environ["E2E_READER_ID"], secret_id=os.environ["E2E_READER"])["auth"]
    confide(auth["client_token"])
    same((auth["lease_duration"], auth["renewable"], auth["token_type"]), (3600, True, "service"))
    same(login.token, auth["client_token"])
    same(login.secrets.kv.v2.read_secret_version(path=ORG, raise_on_deleted_version=True)["data"]["data"], {name("db"): private("8")})
    with refused(Forbidden, lambda e: True):
        login.secrets.kv.v2.create_or_update_secret(path=ORG, secret=first)
    same(login.auth.token.lookup_self()["data"]["renewable"], True)
    same(login.auth.token.renew_self(increment="10m")["auth"]["client_token"], auth["client_token"])
    login.auth.token.revoke_self()
    with refused(Forbidden, lambda e: True):
        login.secrets.kv.v2.read_secret_version(path=ORG, raise_on_deleted_version=True)
    same(login.is_authenticated(), False)

with step("capabilities"):
    same(client.sys.get_capabilities(["secret/data/" + ORG])["data"]["capabilities"][0] in ("root", "create"), True)

with step("everything is removed"):
    kv.delete_metadata_and_all_versions(path=ORG)
    with refused(InvalidPath, lambda e: True):
        kv.read_secret_metadata(path=ORG)
