"""Stores the lines of standard input in the stream RUNLOG. Exits with 0 once the server has
acknowledged all of them. Needs nats-py; NATS_URL is the server."""

import asyncio
import hashlib
import json
import os
import sys

import nats

WEEK = 7 * 24 * 3600  # seconds


def key(line):
    """Returns a unique key of an event. Other lines are identified by their text."""
    return json.loads(line).get("id") or hashlib.sha256(line).hexdigest()


async def main():
    server = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=2)
    stream = server.jetstream()
    await stream.add_stream(name="RUNLOG", subjects=["runlog.>"], duplicate_window=WEEK)
    subject = "runlog." + os.uname().nodename.replace(".", "-")
    new = known = 0
    for line in sys.stdin.buffer:
        if not line.endswith(b"\n"):
            break  # torn: its writer was killed
        line = line[:-1]
        stored = await stream.publish(subject, line, headers={"Nats-Msg-Id": key(line)})
        known += bool(stored.duplicate)
        new += not stored.duplicate
    await server.close()
    print(f"{new} new, {known} known", file=sys.stderr)


asyncio.run(main())
