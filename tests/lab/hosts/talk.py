#!/usr/bin/env python3
"""The host of the fake internet that converses: a WebSocket server (RFC 6455) that says each message again.

It agrees to compression where it is asked to. Each frame that arrives is written down as it came, those of pings as well, and what a
conversation was opened with.
"""

import argparse
import itertools
import json
import os
import socketserver
import time

from websockets.exceptions import InvalidState
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.http11 import Request

try:
    from websockets.server import ServerProtocol
except ImportError:
    # As it is called before version 11.
    from websockets.server import ServerConnection as ServerProtocol


class Conversation(socketserver.BaseRequestHandler):
    """One connection, from its handshake to its end."""

    log = None
    numbers = itertools.count(1)

    def setup(self):
        self.number = next(self.numbers)
        self.protocol = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])

    def handle(self):
        try:
            while piece := self.request.recv(65536):
                self.protocol.receive_data(piece)
                events = self.protocol.events_received()
                # All of them before the first is answered, so that whoever has the answer finds it there.
                for event in events:
                    self.hear(event)
                for event in events:
                    self.answer(event)
                if not self.send():
                    return
        except (OSError, InvalidState):
            # Whoever breaks off, or says that it is at its end, waits for no answer.
            pass

    def hear(self, event):
        if isinstance(event, Request):
            offered = event.headers.get("Sec-WebSocket-Extensions")
            self.write_down(kind="open", isLast=True, hex="", path=event.path, extensions=offered)
        else:
            self.write_down(kind=event.opcode.name.lower(), isLast=event.fin, hex=bytes(event.data).hex())

    def answer(self, event):
        if isinstance(event, Request):
            self.protocol.send_response(self.protocol.accept(event))
        elif event.opcode is Opcode.TEXT:
            self.protocol.send_text(event.data, event.fin)
        elif event.opcode is Opcode.BINARY:
            self.protocol.send_binary(event.data, event.fin)
        elif event.opcode is Opcode.CONT:
            self.protocol.send_continuation(event.data, event.fin)

    def send(self):
        """Sends what is due; whether there is more to hear."""
        for piece in self.protocol.data_to_send():
            if not piece:
                return False
            self.request.sendall(piece)
        return True

    def write_down(self, **frame):
        line = {"at": time.time(), "conversation": self.number, **frame}
        os.write(self.log, (json.dumps(line) + "\n").encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True, help="on the loopback")
    arguments.add_argument("--log", required=True, help="file to append to")
    arguments = arguments.parse_args()
    Conversation.log = os.open(arguments.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    Server(("127.0.0.1", arguments.port), Conversation).serve_forever()


if __name__ == "__main__":
    main()
