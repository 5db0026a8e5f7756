"""Says what Python makes of each request, as a line of JSON once the request is whole. Ends with its standard input."""

import json
import os
import posixpath
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def say(what):
    os.write(1, (json.dumps(what) + "\n").encode())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def understood(self):
        # The library knows no chunks: it hands them to whoever reads on.
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        normal = posixpath.normpath(path)
        say({
            "connection": self.client_address[1],
            "method": self.command,
            "host": self.headers["host"],
            # As its server of files reads it.
            "path": normal + "/" if path.endswith("/") and normal != "/" else normal,
            "query": urllib.parse.parse_qsl(url.query, keep_blank_values=True),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body.decode(),
        })
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST = understood

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Five may wait for it by default: of those beyond, the system hears only when they ask again.
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
say({"port": server.server_port})
sys.stdin.read()
