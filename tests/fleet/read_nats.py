"""Prints what is in the stream RUNLOG, one line for each message: its key (`id`) or itself
(`line`). Nothing if there is no such stream."""

import asyncio
import os
import sys

import nats
from nats.js.errors import NotFoundError


async def main(what):
    server = await nats.connect(os.environ["NATS_URL"], connect_timeout=2, allow_reconnect=False)
    stream = server.jetstream()
    try:
        held = (await stream.stream_info("RUNLOG")).state.messages
    except NotFoundError:
        held = 0
    if held:
        messages = await stream.subscribe("runlog.>", ordered_consumer=True)
        for _ in range(held):
            message = await messages.next_msg(timeout=10)
            print(message.header["Nats-Msg-Id"] if what == "id" else message.data.decode())
    await server.close()


asyncio.run(main(sys.argv[1]))
