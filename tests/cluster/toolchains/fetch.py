"""Fetches `/` of a host in one of the ways that Python has, and prints what it got."""

import socket
import ssl
import sys
import urllib.request

import httpx
import requests


def by_socket(host):
    """Knows of no proxy, and of the system's authorities alone."""
    with socket.create_connection((host, 443), timeout=20) as plain:
        with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure:
            secure.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            return secure.makefile().read()


WAYS = {
    "socket": by_socket,
    "urllib": lambda host: urllib.request.urlopen(f"https://{host}/", timeout=20).read().decode(),
    "requests": lambda host: requests.get(f"https://{host}/", timeout=20).text,
    "httpx": lambda host: httpx.get(f"https://{host}/", timeout=20).text,
}

print(WAYS[sys.argv[1]](sys.argv[2]))
