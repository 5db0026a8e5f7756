"""Sends bytes to the gateway, as no well-behaved client does, and prints what comes back.

Standard input is a JSON list of {"tunnel": "HOST:PORT"|null, "sni": NAME|null, "hello": …, "hex": …}. With a tunnel, the bytes go
through it; with a name, through TLS in it, which begins as "hello" says. The output is a list of {"text": …, "sent": …, "closed": …}:
the first bytes of each answer, where what broke off is empty; how often it was sent; and whether the gateway then ended the connection.
"""

import concurrent.futures
import json
import os
import socket
import ssl
import sys
import time

PROXY = os.environ["HTTPS_PROXY"].split("//")[1].split(":")
PATIENCE = 10
# Once something has come, what follows comes at once.
REST = 1
# A gateway that has no place for a connection closes it, as it does on bytes that mean nothing.
ATTEMPTS = 3


def head_of(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = stream.recv(1)
        if not byte:
            break
        head += byte
    return head


class Tls:
    """TLS on a stream, whose first record may be changed before it is sent (RFC 8446 section 4.1.2)."""

    def __init__(self, stream, name, change):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.stream, self.inward, self.outward = stream, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inward, self.outward, server_hostname=name)
        self.change = change
        self.until_done(self.tls.do_handshake)

    def until_done(self, step):
        while True:
            try:
                done = step()
                self.flush()
                return done
            except ssl.SSLWantReadError:
                self.flush()
                piece = self.stream.recv(65536)
                if not piece:
                    raise OSError("it broke off")
                self.inward.write(piece)

    def flush(self):
        waiting = self.outward.read()
        if waiting and self.change:
            waiting, self.change = self.change(waiting), None
        if waiting:
            self.stream.sendall(waiting)

    def sendall(self, data):
        self.until_done(lambda: self.tls.write(data))

    def recv(self, size):
        return self.until_done(lambda: self.tls.read(size))

    def settimeout(self, seconds):
        self.stream.settimeout(seconds)


def in_records(payload, *ends):
    """A handshake's message in several records (RFC 8446 section 5.1)."""
    places = [0, *ends, len(payload)]
    pieces = [payload[start:end] for start, end in zip(places, places[1:])]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def names_extension(names):
    """What a client says of its host (RFC 6066 section 3)."""
    written = b"".join(b"\0" + len(name).to_bytes(2, "big") + name for name in names)
    sizes = [(len(written) + 2).to_bytes(2, "big"), len(written).to_bytes(2, "big")]
    return b"\0\0" + b"".join(sizes) + written


def naming(record, name, names):
    """The message in a client's first record, with these names in the place of its one."""
    payload = record[5:]
    # Type and length, version, random; then session, ciphers and compressions, each after its length.
    at = 4 + 2 + 32
    for size in (1, 2, 1):
        at += size + int.from_bytes(payload[at : at + size], "big")
    extensions, own = payload[at + 2 :], names_extension([name])
    assert extensions.count(own) == 1
    extensions = extensions.replace(own, names_extension(names))
    message = payload[4:at] + len(extensions).to_bytes(2, "big") + extensions
    return payload[:1] + len(message).to_bytes(3, "big") + message


def first_record(name, hello):
    """How a client's first record is changed."""
    if hello == "split":
        # In the middle of the name. It is the one of the same names, so that the rewriting is shown to be right.
        def split(record):
            payload = naming(record, name, [name])
            return in_records(payload, payload.index(name) + len(name) // 2)

        return split
    names = {
        "twice": [name, b"hidden.example"],
        "again": [name, name],
        "nul": [name + b"\0.hidden.example"],
        "endsinnul": [name + b"\0"],
    }
    return lambda record: in_records(naming(record, name, names[hello]))


def beginning(name, change):
    """What a client sends first, changed."""
    context, outward = ssl.create_default_context(), ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outward, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return change(outward.read())


def answer_to(vector):
    for attempt in range(ATTEMPTS):
        answer, is_closed = once(vector)
        if answer or attempt == ATTEMPTS - 1:
            return {"text": answer.decode("latin-1"), "sent": attempt + 1, "closed": is_closed}
        time.sleep(attempt)


def once(vector):
    answer = b""
    try:
        stream = socket.create_connection((PROXY[0], int(PROXY[1])), PATIENCE)
        if vector["tunnel"]:
            stream.sendall(f"CONNECT {vector['tunnel']} HTTP/1.1\r\nHost: {vector['tunnel']}\r\n\r\n".encode())
            head = head_of(stream)
            if b" 200 " not in head.split(b"\r\n")[0]:
                return head, True
        if vector["hello"] == "nameless":
            stream = Tls(stream, None, None)
        elif vector["sni"] and vector["hello"] == "split":
            stream = Tls(stream, vector["sni"], first_record(vector["sni"].encode(), "split"))
        elif vector["sni"] and vector["hello"] != "plain":
            # A handshake that was changed on its way does not come to its end. What the gateway makes of its beginning is the answer.
            stream.sendall(beginning(vector["sni"], first_record(vector["sni"].encode(), vector["hello"])))
            return stream.recv(4096), False
        elif vector["sni"]:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            stream = context.wrap_socket(stream, server_hostname=vector["sni"])
        stream.sendall(bytes.fromhex(vector["hex"]))
        while len(answer) < 65536:
            piece = stream.recv(65536)
            if not piece:
                break
            answer += piece
            # Whoever says that it closes is waited for.
            stream.settimeout(PATIENCE if b"\r\nconnection: close" in answer.lower() else REST)
        is_closed = len(answer) < 65536
    except TimeoutError:
        is_closed = False
    except OSError:
        is_closed = True
    return answer[:4096], is_closed


with concurrent.futures.ThreadPoolExecutor(12) as pool:
    print(json.dumps(list(pool.map(answer_to, json.load(sys.stdin)))))
