#!/usr/bin/env python3
"""Checks the chain of a ledger: check-ledger.py FILE, a message of the topic events a line, in any order."""
import hashlib, json, sys

record = {m["seq"]: m for m in map(json.loads, open(sys.argv[1], encoding="utf-8"))}
before = "0" * 64
for seq in range(1, len(record) + 1):
    r = record[seq]["record"] if seq in record else sys.exit(f"record {seq} is missing")
    text = json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False)  # RFC 8785, of such records
    sha = hashlib.sha256(text.encode("utf-8")).hexdigest()
    if sha != record[seq]["hash"] or r["prev"] != before or r["seq"] != seq:
        sys.exit(f"record {seq} is not what was chained")
    before = sha
print(f"{len(record)} records, whole, up to {before}")
