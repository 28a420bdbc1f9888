"""Writes the test vectors into this folder and the seeds of the fuzz tests into internal/seal/testdata/fuzz.

This is a second implementation of the formats in internal/seal/DESIGN.md. It uses libsodium and the reference Argon2
instead of Tink and Go's libraries, so the vectors don't repeat the server's bugs. It needs PyNaCl and argon2-cffi.
All keys and nonces are derived from labels, so its output is deterministic. Nothing here is secret.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import struct

from argon2.low_level import Type, hash_secret_raw
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as xchacha

HERE = pathlib.Path(__file__).parent


def fixed(label, size=32):
    """Deterministic bytes that look random."""
    return hashlib.shake_256(b"fluxkeep test vector: " + label.encode()).digest(size)


def b64(b):
    return base64.b64encode(b).decode()


def write(name, value):
    (HERE / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_seed(fuzz, name, *values):
    """Writes a seed in the corpus format of Go's fuzzing, escaping bytes where needed."""
    def quoted(b):
        return "".join(chr(c) if 0x20 <= c < 0x7F and chr(c) not in '"\\' else f"\\x{c:02x}" for c in b)
    folder = HERE.parent / "internal" / "seal" / "testdata" / "fuzz" / fuzz
    folder.mkdir(parents=True, exist_ok=True)
    text = "go test fuzz v1\n" + "".join(f'[]byte("{quoted(v)}")\n' for v in values)
    (folder / re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")).write_text(text)


# The part of protocol buffers that Tink's keyset needs.

def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def block(field, b):
    return varint(field << 3 | 2) + varint(len(b)) + b


TINK, RAW = 1, 3
ENABLED, DISABLED = 1, 2


def tink_key(type_name, value, key_id, prefix, status=ENABLED):
    url = b"type.googleapis.com/google.crypto.tink." + type_name.encode()
    data = block(1, url) + block(2, value) + number(3, 1)
    return block(2, block(1, data) + number(2, status) + number(3, key_id) + number(4, prefix))


def tink_keyset(primary, *keys):
    return number(1, primary) + b"".join(keys)


def xchacha_key(key, key_id, prefix=TINK, status=ENABLED):
    return tink_key("XChaCha20Poly1305Key", block(3, key), key_id, prefix, status)


def aes_gcm_key(key, key_id):
    return tink_key("AesGcmKey", block(3, key), key_id, TINK)


def hmac_prf_key(key, key_id, hash_type=3):
    return tink_key("HmacPrfKey", block(2, number(1, hash_type)) + block(3, key), key_id, RAW)


# Keysets in plain text.

KEYS = {
    0x00000001: fixed("data key one"),
    0x7A3F19C2: fixed("data key two"),
    0xFFFFFFFE: fixed("data key three"),
}
LOOKUP_KEY = fixed("lookup key")
LOOKUP = tink_keyset(0x1234, hmac_prf_key(LOOKUP_KEY, 0x1234))


def payload(primary, ids, data=None, lookup=LOOKUP, created=None):
    times = ["2025-01-02T03:04:05Z", "2025-06-07T08:09:10Z", "2026-02-28T23:59:59Z"]
    if data is None:
        data = tink_keyset(primary, *(xchacha_key(KEYS[i], i) for i in ids))
    if created is None:
        created = {str(i): times[n] for n, i in enumerate(ids)}
    return {"data_keys": b64(data), "created": created, "lookup_key": b64(lookup)}


ALL = list(KEYS)
KEYSETS = {
    "one key": payload(ALL[0], ALL[:1]),
    "three keys": payload(ALL[1], ALL),
}

# Sealed values: 01, key ID, nonce, ciphertext, tag.


def seal(key_id, nonce, plaintext, place, key=None):
    head = b"\x01" + struct.pack(">I", key_id)
    return head + nonce + xchacha(plaintext, place, nonce, key or KEYS[key_id])


def flip(b, i):
    out = bytearray(b)
    out[i] ^= 1
    return bytes(out)


def sealed_vectors():
    place = b"v\x00\x00\x00\x00\x00\x00\x00\x07database-password\x00\x00\x00\x01"
    text = b"correct horse battery staple"
    vectors = []

    def add(name, keyset, key_id, place, plaintext, sealed, result="ok"):
        vectors.append({
            "name": name, "keyset": keyset, "key_id": key_id, "place": place.hex(),
            "plaintext": plaintext.hex(), "sealed": sealed.hex(), "result": result,
        })

    n = 0
    for keyset, ids in (("one key", ALL[:1]), ("three keys", ALL)):
        for key_id in ids:
            for what, p, t in (("text", place, text), ("empty value", place, b""), ("empty place", b"", text),
                               ("one byte", place, b"\x00"), ("1 KiB", place, fixed("large", 1024)),
                               ("long place", fixed("place", 300), text)):
                n += 1
                add(f"{keyset}, key {key_id:08x}: {what}", keyset, key_id, p, t,
                    seal(key_id, fixed(f"nonce {n}", 24), t, p))
    one = ALL[0]
    good = seal(one, fixed("nonce bad", 24), text, place)
    add("first byte changed", "one key", 0, place, text, flip(good, 0), "not sealed")
    add("nonce changed", "one key", one, place, text, flip(good, 5), "damaged")
    add("ciphertext changed", "one key", one, place, text, flip(good, 29), "damaged")
    add("tag changed", "one key", one, place, text, flip(good, len(good) - 1), "damaged")
    add("one byte missing", "one key", one, place, text, good[:-1], "damaged")
    add("one additional byte", "one key", one, place, text, good + b"\x00", "damaged")
    add("truncated tag", "one key", 0, place, text, good[:44], "not sealed")
    add("nothing", "one key", 0, place, text, b"", "not sealed")
    add("wrong place", "one key", one, flip(place, 8), text, good, "damaged")
    add("truncated place", "one key", one, place[:-1], text, good, "damaged")
    add("ID of another key", "three keys", ALL[1], place, text,
        b"\x01" + struct.pack(">I", ALL[1]) + good[5:], "damaged")
    add("missing key", "one key", ALL[1], place, text,
        seal(ALL[1], fixed("nonce other", 24), text, place), "unknown key")
    add("key with the same ID from another keyset", "one key", one, place, text,
        seal(one, fixed("nonce same", 24), text, place, fixed("another key")), "damaged")
    for v in vectors:
        write_seed("FuzzOpen", v["name"], bytes.fromhex(v["sealed"]), bytes.fromhex(v["place"]))
    write("sealed.json", {"keysets": KEYSETS, "vectors": vectors})


# Lookups.


def lookup_vectors():
    cases = [("secret", b"db"), ("secret", b""), ("", b""), ("", b"secretdb"), ("secretd", b"b"), ("audit", b"db"),
             ("token", fixed("token", 64)), ("user", "Ørsted".encode())]
    write("lookup.json", {"keyset": KEYSETS["three keys"], "vectors": [{
        "purpose": purpose, "name": name.hex(),
        "hash": hmac.digest(LOOKUP_KEY, struct.pack(">Q", len(purpose)) + purpose.encode() + name, "sha256")[:16].hex(),
    } for purpose, name in cases]})


# Key-encryption keys in this process.


def expand(master, label, size):
    return hmac.digest(master, b"fluxkeep key-encryption key: " + label + b"\x01", "sha256")[:size]


def local_id(master):
    return expand(master, b"id", 8).hex()


def local_wrap(master, nonce, plaintext, ad):
    return nonce + xchacha(plaintext, ad, nonce, expand(master, b"XChaCha20-Poly1305", 32))


def field(b):
    return struct.pack(">Q", len(b)) + b


def key_line(master):
    s = hashlib.sha256(field(b"fluxkeep-key-1") + field(master)).digest()[:4]
    return f"fluxkeep-key-1:{master.hex()}:{s.hex()}"


MASTER = fixed("key file")
OTHER_MASTER = fixed("other key file")


def key_file_vectors():
    line = key_line(MASTER)
    digits = line.split(":")[1]
    wrong = "0" if digits[10] != "0" else "1"
    vectors = [
        ("with comments", f"# a comment\n\n{line}\n", "ok"),
        ("only the line", line, "ok"),
        ("other line endings and spaces", f"# a comment\r\n  {line} \r\n", "ok"),
        ("upper-case digits", "fluxkeep-key-1:" + line[15:].upper() + "\n", "ok"),
        ("mistyped digit", line.replace(digits, digits[:10] + wrong + digits[11:]) + "\n", "checksum"),
        ("two digits swapped", line.replace(digits, next(
            digits[:i] + digits[i + 1] + digits[i] + digits[i + 2:]
            for i in range(62) if digits[i] != digits[i + 1])) + "\n", "checksum"),
        ("mistyped checksum", line[:-1] + ("0" if line[-1] != "0" else "1"), "checksum"),
        ("not a digit", line.replace(digits, digits[:10] + "g" + digits[11:]), "hexadecimal"),
        ("truncated key", line[:40], "truncated"),
        ("truncated checksum", line[:-1], "truncated"),
        ("key missing", "# a comment\nfluxkeep-key-1", "truncated"),
        ("only the comment", "# a comment\n", "empty or truncated"),
        ("empty", "", "empty or truncated"),
        ("two keys", f"{line}\n{key_line(OTHER_MASTER)}\n", "more than one line"),
        ("too long", f"fluxkeep-key-1:{digits}00:{line[-8:]}", "too long"),
        ("something else", "-----BEGIN PRIVATE KEY-----\n", "not a key file"),
        ("newer format", "fluxkeep-key-2:anything\n", "newer"),
        ("no format", "fluxkeep-key-x:anything\n", "no valid format"),
    ]
    for name, text, _ in vectors:
        write_seed("FuzzKeyFile", name, text.encode())
    write("keyfiles.json", {"key_id": local_id(MASTER), "vectors": [
        {"name": n, "text": t, "result": r} if r == "ok" else
        {"name": n, "text": t, "result": "newer format" if r == "newer" else "damaged", "reason": r}
        for n, t, r in vectors]})


# Wrapped documents.


def header(doc):
    key = doc["key_encryption_key"]
    out = struct.pack(">Q", doc["format"]) + field(key["provider"].encode()) + field(key["id"].encode())
    parameters = key.get("parameters", {})
    out += struct.pack(">Q", len(parameters))
    for name in sorted(parameters):
        out += field(name.encode()) + field(parameters[name].encode())
    return out


def binding(doc, part):
    return hashlib.sha256(field(b"fluxkeep keyset") + field(part) + header(doc)).digest()


def checksummed(doc):
    doc = json.loads(json.dumps(doc))
    doc.pop("checksum", None)
    doc["checksum"] = hashlib.sha256(
        field(b"fluxkeep keyset") + field(b"checksum") + header(doc) +
        field(base64.b64decode(doc["wrapped_key"])) + field(base64.b64decode(doc["keyset"]))).digest()[:8].hex()
    return doc


def document(provider, master, clear, label, parameters=None, form=1):
    key = {"provider": provider, "id": local_id(master)}
    if parameters:
        key["parameters"] = dict(sorted(parameters.items()))
    doc = {"type": "fluxkeep keyset", "format": form, "key_encryption_key": key}
    inner, nonce = fixed(label + " document key"), fixed(label + " inner nonce", 24)
    doc["wrapped_key"] = b64(local_wrap(master, fixed(label + " outer nonce", 24), inner, binding(doc, b"wrapped key")))
    doc["keyset"] = b64(nonce + xchacha(json.dumps(clear).encode(), binding(doc, b"keyset"), nonce, inner))
    return checksummed(doc)


def passphrase_document(passphrase, clear, label, passes, memory, lanes):
    salt = fixed(label + " salt", 16)
    master = hash_secret_raw(passphrase, salt, passes, memory, lanes, 32, Type.ID, 19)
    return document("passphrase", master, clear, label, {
        "function": "argon2id", "version": "19", "salt": b64(salt),
        "passes": str(passes), "memory_kib": str(memory), "lanes": str(lanes)})


def changed(doc, **parameters):
    doc = json.loads(json.dumps(doc))
    doc["key_encryption_key"].setdefault("parameters", {}).update(parameters)
    return checksummed(doc)


def document_vectors():
    clear = KEYSETS["three keys"]
    vectors = []

    def add(name, doc, result="ok", key_file=None, passphrase=None):
        if not isinstance(doc, str):
            doc = json.dumps(doc, indent=2) + "\n"
        provider = {"passphrase": passphrase} if passphrase else {"key_file": key_line(key_file or MASTER)}
        vectors.append({"name": name, **provider, "document": doc, "result": result})

    good = document("key-file", MASTER, clear, "good")
    add("key file", good)
    add("key file, on one line", json.dumps(good, separators=(",", ":")))
    add("another key file", good, "wrong key", key_file=OTHER_MASTER)
    add("passphrase instead of a key file", good, "wrong key", passphrase="correct horse battery staple")

    words = "correct horse battery staple"
    phrase = passphrase_document(words.encode(), clear, "phrase", 3, 65536, 4)
    small = passphrase_document(words.encode(), clear, "small", 1, 8192, 1)
    add("passphrase", phrase, passphrase=words)
    add("passphrase, smaller costs", small, passphrase=words)
    add("another passphrase", small, "wrong key", passphrase="incorrect horse battery staple")
    add("key file instead of a passphrase", small, "wrong key")
    add("other passes", changed(small, passes="2"), "wrong key", passphrase=words)
    add("other salt", changed(small, salt=b64(fixed("other salt", 16))), "wrong key", passphrase=words)
    for name, parameters in {
        "too much memory": {"memory_kib": "4194304"}, "too many passes": {"passes": "1000000"},
        "too many lanes": {"lanes": "255"}, "no passes": {"passes": "0"}, "no lanes": {"lanes": "0"},
        "negative memory": {"memory_kib": "-1"}, "too little memory": {"memory_kib": "7"}, "short salt": {"salt": "AAAA"},
        "another function": {"function": "argon2i"}, "another version": {"version": "16"},
    }.items():
        add(name, changed(small, **parameters), "damaged", passphrase=words)

    add("additional parameter", changed(good, note="x"), "damaged")
    other = document("key-file", MASTER, KEYSETS["one key"], "other")
    add("keyset of another document", checksummed({**good, "keyset": other["keyset"]}), "damaged")
    add("wrapped key of another document", checksummed({**good, "wrapped_key": other["wrapped_key"]}), "damaged")
    add("truncated keyset", checksummed({**good, "keyset": good["keyset"][:40]}), "damaged")
    add("no keyset", checksummed({**good, "keyset": ""}), "damaged")
    add("no wrapped key", checksummed({**good, "wrapped_key": ""}), "damaged")
    add("wrong checksum", {**good, "checksum": "0011223344556677"}, "damaged")
    add("no checksum", {k: v for k, v in good.items() if k != "checksum"}, "damaged")
    add("additional field", {**good, "more": 1}, "damaged")
    add("duplicate field", json.dumps(good)[:-1] + ', "format": 1}', "damaged")
    add("field name in another case", json.dumps(good).replace('"keyset":', '"Keyset":'), "damaged")
    add("fields in another order", dict(reversed(good.items())), "damaged")
    add("another type", {**good, "type": "something else"}, "damaged")
    add("truncated", json.dumps(good)[:-10], "damaged")
    add("two documents", json.dumps(good) * 2, "damaged")
    add("empty", "", "damaged")
    add("null", "null", "damaged")
    add("no format", {**good, "format": 0}, "damaged")
    add("newer format", document("key-file", MASTER, clear, "newer", form=2), "newer format")
    add("newer format with other fields", '{"type":"fluxkeep keyset","format":7,"else":[]}', "newer format")

    one = ALL[0]
    for name, inner, result in (
        ("no time of creation", payload(one, [one], created={}), "damaged"),
        ("time of another key", payload(one, [one], created={"2": "2025-01-02T03:04:05Z"}), "damaged"),
        ("time of a key that is not there", payload(one, [one], created={
            "1": "2025-01-02T03:04:05Z", "2": "2025-01-02T03:04:05Z"}), "damaged"),
        ("no data keys", payload(one, [one], data=b""), "damaged"),
        ("no primary key", payload(one, [one], data=tink_keyset(9, xchacha_key(KEYS[one], one))), "damaged"),
        ("key without prefix", payload(one, [one], data=tink_keyset(one, xchacha_key(KEYS[one], one, RAW))), "newer format"),
        ("disabled key", payload(one, ALL[:2], data=tink_keyset(
            one, xchacha_key(KEYS[one], one), xchacha_key(KEYS[ALL[1]], ALL[1], status=DISABLED))), "newer format"),
        ("key of another algorithm", payload(one, [one], data=tink_keyset(one, aes_gcm_key(KEYS[one], one))), "newer format"),
        ("no lookup key", payload(one, [one], lookup=b""), "damaged"),
        ("two lookup keys", payload(one, [one], lookup=tink_keyset(
            1, hmac_prf_key(LOOKUP_KEY, 1), hmac_prf_key(fixed("second"), 2))), "newer format"),
        ("lookup key of another hash", payload(one, [one], lookup=tink_keyset(1, hmac_prf_key(LOOKUP_KEY, 1, 4))), "newer format"),
        ("data key as lookup key", payload(one, [one], lookup=tink_keyset(one, xchacha_key(KEYS[one], one))), "newer format"),
        ("not an object", ["x"], "damaged"),
    ):
        add("inside: " + name, document("key-file", MASTER, inner, name), result)

    for v in vectors:
        write_seed("FuzzLoad", v["name"], v["document"].encode())
    write("documents.json", {"keyset": "three keys", "vectors": vectors})


sealed_vectors()
lookup_vectors()
key_file_vectors()
document_vectors()
