"""Opens a WebSocket, says things on it and prints what came of that.

Standard input is {"url": …, "address": …, "says": […], "waits": …, "repeats": …, "closes": …}. With an address, the host is looked for
there and nobody vouches for it. What is said is {"text": …}, {"hex": …}, {"pieces": […]} of one text, or {"ping": …}. Whoever waits has
each answer before it goes on; whoever repeats begins again at the end, until the conversation ends. The reason for closing is said at the
end. Compression is asked for, as this library does by itself. The output is {"status": …, "reason": …, "extensions": […], "heard": […],
"ended": …}: the last says whether somebody else ended it.
"""

import asyncio
import json
import ssl
import sys
from urllib.parse import urlsplit

import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatusCode

PATIENCE = 20
# Between the rounds of whoever repeats.
PAUSE = 0.1


async def hear(socket, heard):
    heard.append(await asyncio.wait_for(socket.recv(), PATIENCE))


async def say(socket, thing):
    """Says one thing; whether it is answered with a message."""
    if "ping" in thing:
        await asyncio.wait_for(await socket.ping(thing["ping"]), PATIENCE)
        return False
    if "hex" in thing:
        await socket.send(bytes.fromhex(thing["hex"]))
    else:
        await socket.send(thing.get("text", thing.get("pieces")))
    return True


async def converse(socket, wish, heard):
    due = 0
    while True:
        for thing in wish["says"]:
            due += await say(socket, thing)
            if wish["waits"] and due > len(heard):
                await hear(socket, heard)
        if not wish["repeats"]:
            break
        await asyncio.sleep(PAUSE)
    while len(heard) < due:
        await hear(socket, heard)


async def main(wish):
    context, where = ssl.create_default_context(), {}
    if wish["address"]:
        where = {"host": wish["address"], "server_hostname": urlsplit(wish["url"]).hostname}
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    became = {"status": 101, "reason": None, "extensions": [], "heard": [], "ended": False}
    heard = []
    try:
        async with websockets.connect(wish["url"], ssl=context, ping_interval=None, **where) as socket:
            became["extensions"] = [extension.name for extension in socket.extensions]
            try:
                await converse(socket, wish, heard)
                await socket.close(reason=wish["closes"])
            except ConnectionClosed:
                became["ended"] = True
    except InvalidStatusCode as refusal:
        became |= {"status": refusal.status_code, "reason": refusal.headers.get("x-ws-denied")}
    became["heard"] = [message if isinstance(message, str) else message.hex() for message in heard]
    print(json.dumps(became))


asyncio.run(main(json.load(sys.stdin)))
