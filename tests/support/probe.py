"""Tries to reach each target of the JSON list on standard input, all at once, and prints which were reached.

A target is {"kind": "tcp"|"udp", "host": …, "port": …, "payload": …}. TCP counts as reached when it is
connected, UDP when something answers.
"""

import concurrent.futures
import json
import socket
import sys


def reached(target):
    host, port, payload = target["host"], target["port"], target["payload"].encode()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_STREAM if target["kind"] == "tcp" else socket.SOCK_DGRAM
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(2)
            s.connect((host, port))
            for _ in range(3):
                s.send(payload)
                if kind == socket.SOCK_STREAM:
                    return True
                try:
                    if s.recv(1):
                        return True
                except socket.timeout:
                    pass
            return False
    except OSError:
        return False


targets = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    print(json.dumps(list(pool.map(reached, targets))))
