"""What Schemathesis can't know: which organization there is, who may ask for any
method, and what must not happen while it runs, the end of the token that it
runs with and long waits."""

import itertools
import os
import re

import schemathesis

ORG = os.environ["E2E_ORG_ID"]
# Requests that would end or change one of these name another one instead.
OWN = {os.environ["E2E_TOKEN_ID"], os.environ["E2E_USER_ID"], ORG}
TOKEN = "Token " + os.environ["E2E_TOKEN"]
ABSENT = "00000000deadbeef"
ENDS = ("/authorizations/{authID}", "/users/{userID}", "/users/{userID}/password", "/orgs/{orgID}")
ID = re.compile(r"0*[1-9a-fA-F][0-9a-fA-F]*")

turn = itertools.count()


def is_id(value):
    return isinstance(value, str) and len(value) == 16 and ID.fullmatch(value)


@schemathesis.hook
def filter_query(context, query):
    # Of a parameter that is there twice the first counts and an empty one is none,
    # as in InfluxDB.
    return not any(k != "name" and (isinstance(v, list) or v == "") for k, v in (query or {}).items())


@schemathesis.hook
def filter_body(context, body):
    # A member is known by its name in any case, as in InfluxDB.
    if not isinstance(body, dict):
        return True
    schemas = context.operation.schema.raw_schema["components"]["schemas"].values()
    known = {name for schema in schemas for name in schema.get("properties", ())}
    folded = {name.casefold() for name in known}
    return all(name in known or name.casefold() not in folded for name in body)


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.method.lower() not in {m.lower() for m in case.operation.schema[case.path]}:
        # That there is no such method is said to those who may ask.
        case.headers = {**(case.headers or {}), "Authorization": TOKEN}
    if case.method.upper() == "DELETE" and case.path.endswith("/fluxkeep/self"):
        case.headers = {**(case.headers or {}), "Authorization": "Token " + ABSENT}
    parameters = case.path_parameters or {}
    if case.method.upper() != "GET" and case.path.endswith(ENDS):
        for name, value in parameters.items():
            if is_id(value) and value.lower() in OWN:
                parameters[name] = ABSENT
    elif is_id(parameters.get("orgID")) and next(turn) % 2 == 0:
        # Among random IDs there is never one of an organization.
        parameters["orgID"] = ORG
    if case.path.endswith("/secrets/settings") and isinstance(case.body, dict) and case.body.get("casRequired"):
        case.body["casRequired"] = False  # or most writes are refused from then on
    wait = (case.query or {}).get("wait")
    if isinstance(wait, str) and re.fullmatch(r"[0-9]+(ms|s|m)", wait):
        case.query["wait"] = "1ms"
