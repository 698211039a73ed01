#!/usr/bin/env python3
"""A small receiver of records, written from backend.md alone: Python's own library and mosquitto's clients.

receive-records.py STORE.db [mosquitto options: -h HOST -p PORT --cafile F --cert F --key F ...]

Commits every record to SQLite before it acknowledges it, and prints the sessions that have ended. mosquitto_sub sends
the PUBACK when it has a message, not when it is on disk: what is lost between comes again, because the ack says so."""
import hashlib, json, sqlite3, subprocess, sys

store, *broker = sys.argv[1:]
db = sqlite3.connect(store, isolation_level=None)
db.executescript("""PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS record (gateway, ledger, seq INTEGER, hash, body, PRIMARY KEY (gateway, ledger, seq, hash));
CREATE TABLE IF NOT EXISTS whole (gateway, ledger, upto INTEGER, hash, newest INTEGER, PRIMARY KEY (gateway, ledger));
CREATE TABLE IF NOT EXISTS event (gateway, txn, seqno INTEGER, madeas, body, PRIMARY KEY (gateway, txn, seqno, madeas));""")


def complain(*what):
    print(*what, file=sys.stderr, flush=True)


def commit(gateway, m):
    """Keeps a record and moves the whole part on. False for one that is no record."""
    r = m["record"]
    text = json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sha = hashlib.sha256(text.encode()).hexdigest()
    if m["v"] != 1 or (sha, r["ledger"], r["seq"]) != (m["hash"], m["ledger"], m["seq"]):
        return complain(gateway, "refused", m["ledger"], m["seq"])
    key = gateway, m["ledger"]
    db.execute("BEGIN IMMEDIATE")
    known = [h for h, in db.execute("SELECT hash FROM record WHERE gateway = ? AND ledger = ? AND seq = ?", (*key, m["seq"]))]
    if known and sha not in known:
        complain(gateway, "FORK", *key, m["seq"])
    db.execute("INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?)", (*key, m["seq"], sha, text))
    db.execute("INSERT OR IGNORE INTO whole VALUES (?, ?, 0, '', 0)", key)
    if not known:
        db.execute("UPDATE whole SET newest = (SELECT max(newest) + 1 FROM whole) WHERE gateway = ? AND ledger = ?", key)
    (upto, last), = db.execute("SELECT upto, hash FROM whole WHERE gateway = ? AND ledger = ?", key)
    while True:
        after = db.execute("SELECT hash, body FROM record WHERE gateway = ? AND ledger = ? AND seq = ? ORDER BY rowid", (*key, upto + 1))
        follows = [h for h, body in after if json.loads(body)["prev"] == (last or "0" * 64)]
        if not follows:
            break
        upto, last = upto + 1, follows[0]
    db.execute("UPDATE whole SET upto = ?, hash = ? WHERE gateway = ? AND ledger = ?", (upto, last, *key))
    if r["type"] == "TransactionEvent":
        bill(gateway, r, r.get("carried", {}).get("hash", sha), text)
    db.execute("COMMIT")
    return True


def bill(gateway, r, made_as, text):
    """Prints a session when its end comes for the first time."""
    event = gateway, r["transactionId"], r["seqNo"]
    if db.execute("SELECT 1 FROM event WHERE gateway = ? AND txn = ? AND seqno = ? AND madeas <> ?", (*event, made_as)).fetchone():
        complain("two stories about", *event)
    new = db.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)", (*event, made_as, text)).rowcount
    if new and r["eventType"] == "Ended" and "ServiceTest" not in r.get("review", []):
        print(gateway, r["transactionId"], r["account"], r["energy"], "Wh", r["seconds"], "s", *r.get("review", []), flush=True)


def acknowledge(gateway=None):
    """Says, retained, how far the newest ledger of a gateway is whole; of all gateways at first."""
    for g, ledger, upto, sha in db.execute("""SELECT gateway, ledger, upto, hash FROM whole w WHERE (?1 IS NULL OR gateway = ?1)
            AND newest = (SELECT max(newest) FROM whole WHERE gateway = w.gateway)""", (gateway,)).fetchall():
        subprocess.run(["mosquitto_pub", *broker, "-q", "1", "-r", "-t", f"badged/v1/gateways/{g}/ack",
                        "-m", json.dumps({"ledger": ledger, "upTo": upto, "hash": sha})], check=True)


sub = subprocess.Popen(["mosquitto_sub", *broker, "-q", "1", "-c", "-i", "receive-records", "-F", "%t %p", "-t", "badged/v1/gateways/+/events"],
                       stdout=subprocess.PIPE)
acknowledge()
for line in sub.stdout:
    topic, _, payload = line.partition(b" ")
    gateway = topic.decode().split("/")[3]
    try:
        if commit(gateway, json.loads(payload)):
            acknowledge(gateway)
    except (ValueError, KeyError, TypeError) as e:
        complain(gateway, "refused", repr(e))
        if db.in_transaction:
            db.execute("ROLLBACK")
