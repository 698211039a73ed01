#!/usr/bin/env python3
"""A small publisher of one list, written from backend.md alone: Python's own library, openssl and mosquitto's clients.

publish-list.py STORE LIST KEY.jwk ENTRIES.json [mosquitto options: -h HOST -p PORT --cafile F --cert F --key F ...]

ENTRIES.json is a JSON array of entries. STORE is a folder, the truth about the list: state.json and the payloads as sent.
It shows the protocol; badgectl list push also guards against shrinking lists, a second process and power cuts."""
import base64, gzip, hashlib, json, os, subprocess, sys, tempfile, time

store, name, key_file, entries_file, *broker = sys.argv[1:]
base = f"badged/v1/lists/{name}/"
sha = lambda b: hashlib.sha256(b).digest()
b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
packed = lambda v: gzip.compress(json.dumps(v, separators=(",", ":")).encode())
chunks = lambda all, n: [all[i:i + n] for i in range(0, len(all), n)]
PIECE = 2000  # entries in a message: far below 10,000, and 48 KiB gzipped


def sign(payload, typ):
    """A compact JWS by the JWK: Ed25519 over header.payload."""
    jwk = json.load(open(key_file))
    seed = base64.urlsafe_b64decode(jwk["d"] + "=")
    der = bytes.fromhex("302e020100300506032b657004220420") + seed  # PKCS #8, RFC 8410
    header = {"alg": "EdDSA", "kid": jwk["kid"], "typ": typ}
    text = ".".join(b64(json.dumps(v, separators=(",", ":")).encode()) for v in (header, payload))
    with tempfile.TemporaryDirectory() as d:  # mode 0700
        for file, content in ("key", der), ("text", text.encode()):
            open(f"{d}/{file}", "wb").write(content)
        out = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", f"{d}/key", "-in", f"{d}/text"],
                             check=True, capture_output=True).stdout
    return (text + "." + b64(out)).encode()


def read(topic):
    """The retained message, b"" if there is none."""
    return subprocess.run(["mosquitto_sub", *broker, "-q", "1", "-t", topic, "-C", "1", "-W", "2", "-N"], capture_output=True).stdout


def keep(topic, payload):
    """Publishes a message, retained, and sees that the broker has kept it."""
    subprocess.run(["mosquitto_pub", *broker, "-q", "1", "-r", "-t", topic, "-s"], input=payload, check=True)
    if read(topic) != payload:
        sys.exit(f"the broker does not keep {topic}")


def save(file, content):
    """Writes a file whole and for good, or not at all."""
    with open(f"{store}/new", "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
    os.rename(f"{store}/new", f"{store}/{file}")
    folder = os.open(store, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


os.makedirs(store, mode=0o700, exist_ok=True)
pieces = {}  # topic: payload, as they are to be sent
if os.path.exists(f"{store}/state.json"):
    state = json.load(open(f"{store}/state.json"))
else:
    state = {"epoch": 1, "version": 0, "digest": sha(f"badged-list-1\n{name}\n1".encode()).hex(), "entries": {}, "head": ""}
held = read(base + "head").decode()
if held and held not in (state["head"], state.get("before")):
    sys.exit("the broker has a head that this store did not publish: a second publisher, or this store was lost")

now = {e["uid"]: e for e in json.load(open(entries_file))}
old = state["entries"]
put = [e for uid, e in sorted(now.items()) if old.get(uid) != e]
gone = sorted(set(old) - set(now))
for part in chunks([("put", e) for e in put] + [("remove", uid) for uid in gone], PIECE) or ([[]] if not state["version"] else []):
    state["version"] += 1
    delta = {"list": name, "epoch": state["epoch"], "version": state["version"],
             "put": [v for kind, v in part if kind == "put"], "remove": [v for kind, v in part if kind == "remove"]}
    payload = packed(delta)
    pieces[f"delta/{state['version']}"] = payload
    state["digest"] = sha(bytes.fromhex(state["digest"]) + state["version"].to_bytes(8, "big") + sha(payload)).hex()
if "snapshot" not in state or state["version"] - state["snapshot"]["version"] > 50:
    v, all = state["version"], [packed({"put": part}) for part in chunks(sorted(now.values(), key=lambda e: e["uid"]), PIECE)]
    index = packed({"list": name, "epoch": state["epoch"], "version": v, "count": len(now), "chunks": [sha(c).hex() for c in all]})
    pieces |= {f"snapshot/{v}/{n}": c for n, c in enumerate(all)} | {f"snapshot/{v}/index": index}
    state["snapshot"] = {"version": v, "digest": state["digest"], "index": sha(index).hex()}
    state.setdefault("deltasFrom", v)  # those before the first snapshot were never sent

state["entries"], state["before"] = now, held
issued = time.time()
head = {k: state[k] for k in ("epoch", "version", "digest", "deltasFrom", "snapshot")}
head |= {"list": name, "count": len(now), "issuedAt": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(issued)) + f".{int(issued * 1000) % 1000:03d}Z"}
state["head"] = sign(head, "badged-head").decode()
for topic, payload in pieces.items():  # on the disk before anybody hears of it
    save(topic.replace("/", "-"), payload)
save("state.json", json.dumps(state).encode())

needed = [f"delta/{v}" for v in range(state["deltasFrom"] + 1, state["version"] + 1)]
needed += [f.replace("-", "/") for f in os.listdir(store) if f.startswith(f"snapshot-{state['snapshot']['version']}-")]
for topic in needed:  # all that the head names: what is new, and what the broker may have lost
    payload = open(f"{store}/{topic.replace('/', '-')}", "rb").read()
    if topic in pieces or read(base + topic) != payload:
        keep(base + topic, payload)
if read(base + "head").decode() != held:
    sys.exit("the head moved meanwhile: a second publisher")
keep(base + "head", state["head"].encode())
print(f"{name} version {state['epoch']}.{state['version']}: {len(now)} badges, {len(put)} put, {len(gone)} removed")
