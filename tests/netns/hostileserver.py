#!/usr/bin/env python3
"""A gRPC server that means harm: hostileserver.py PORT KIND... (with several: a connection each, in turn)

Port PORT + i serves the i-th KIND alone; PORT itself all in turn, as "listening" and the connections say.
"""

import base64
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

import h2raw as h2  # noqa: E402

FULL = 16 * 1024 * 1024
ANSWER = [(b":status", b"200"), (b"content-type", b"application/grpc")]
CHUNK = 16384
FLOOD_SECONDS = 20  # for one connection that is not ended by the client


def fields(*pairs):
    return b"".join(h2.literal(name, value) for name, value in pairs)


def headers(stream, pairs, end_stream=False):
    return h2.frame(h2.HEADERS, h2.END_HEADERS | (h2.END_STREAM if end_stream else 0), stream, fields(*pairs))


def data(stream, payload):
    return b"".join(h2.frame(h2.DATA, 0, stream, payload[i:i + CHUNK]) for i in range(0, len(payload), CHUNK))


def trailers(stream, status, text=b""):
    return headers(stream, [(b"grpc-status", status), (b"grpc-message", text)], end_stream=True)


def proto(number, payload):
    size, length = len(payload), b""
    while size >= 128:
        length += bytes([0x80 | size & 0x7F])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


# What answers a request: pieces of bytes, perhaps without end. stream, path.

def ping(stream, path):
    while True:
        yield h2.frame(h2.PING, 0, 0, b"12345678") * 100


def settings(stream, path):
    while True:
        yield h2.frame(h2.SETTINGS, 0, 0, h2.setting(4, 65535) * 6) * 100


def window_updates(stream, path):
    while True:
        yield h2.frame(h2.WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 100


def continuation(stream, path):
    yield h2.frame(h2.HEADERS, 0, stream, fields(*ANSWER))
    while True:
        yield h2.frame(h2.CONTINUATION, 0, stream, h2.literal(b"name", b"value" * 100))


def slow_headers(stream, path):
    yield h2.frame(h2.HEADERS, 0, stream, fields(*ANSWER))
    for _ in range(120):
        time.sleep(1)
        yield b""


def huge_headers(stream, path):
    yield headers(stream, ANSWER + [(b"name", b"v" * 4000)] * 3)
    yield headers(stream, [(b"name", b"v" * 4000)] * 3, end_stream=True)


def interim_answers(stream, path):
    while True:
        yield headers(stream, [(b":status", b"103"), (b"link", b"</x>; rel=preload")]) * 20


def big_message(stream, path):
    yield headers(stream, ANSWER) + data(stream, h2.message(b"", FULL + 1))
    for _ in range(FULL // CHUNK):
        yield data(stream, b"x" * CHUNK)
    yield data(stream, b"x") + trailers(stream, b"0")


def full_message(stream, path):
    """As large as may be, and nonsense."""
    yield headers(stream, ANSWER) + data(stream, h2.message(b"", FULL))
    for _ in range(FULL // CHUNK):
        yield data(stream, b"\xff" * CHUNK)
    yield trailers(stream, b"0")


def endless_messages(stream, path):
    yield headers(stream, ANSWER)
    while True:
        yield data(stream, h2.message(b"x" * 1000) * 16)


def compressed(stream, path):
    yield headers(stream, ANSWER) + data(stream, b"\1\0\0\0\4abcd")


def resets(stream, path):
    yield h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\2")


def refusals(stream, path):
    yield h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\7")


def goaway(stream, path):
    yield h2.frame(h2.GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0bgo away\x1b[31m")
    yield None


def html(stream, path):
    yield headers(stream, [(b":status", b"200"), (b"content-type", b"text/html\x1b[2J"[:9])])
    yield data(stream, b"<html>") + headers(stream, [(b"x", b"y")], end_stream=True)


def wrong_key(stream, path):
    """A key for GetServerKey, and answers that were sealed with another one."""
    if path.endswith(b"GetServerKey"):
        reply = proto(1, base64.b64encode(b"\x09" + os.urandom(31)))
    else:
        reply = proto(1, base64.b64encode(os.urandom(32))) + proto(2, os.urandom(500))
    yield headers(stream, ANSWER) + data(stream, h2.message(reply)) + trailers(stream, b"0")


def busy(stream, path):
    yield headers(stream, ANSWER + [(b"grpc-status", b"14"), (b"grpc-message", b"come back later%0A%1B[31m")],
                  end_stream=True)


def mute(stream, path):
    """Takes requests and never answers one."""
    yield b""


ANSWERS = {function.__name__.replace("_", "-"): function for function in (
    ping, settings, window_updates, continuation, slow_headers, huge_headers, interim_answers, big_message,
    full_message, endless_messages, compressed, resets, refusals, goaway, html, wrong_key, busy, mute)}


def read_exactly(conn, length):
    found = b""
    while len(found) < length:
        more = conn.recv(length - len(found))
        if not more:
            raise ConnectionError
        found += more
    return found


class Connection:
    def __init__(self, conn, kind):
        self.conn, self.kind = conn, kind
        self.lock = threading.Lock()
        self.until = time.monotonic() + FLOOD_SECONDS

    def say(self, text):
        with self.lock:
            self.conn.sendall(text)

    def answer(self, stream, path):
        try:
            for piece in ANSWERS[self.kind](stream, path):
                if piece is None or time.monotonic() > self.until:
                    self.conn.shutdown(socket.SHUT_RDWR)
                    return
                self.say(piece)
        except OSError:
            pass

    def serve(self):
        read_exactly(self.conn, 24)
        # Windows without end: a request may go out, and our DATA is not held back by what we forget to count.
        self.say(h2.frame(h2.SETTINGS, 0, 0, h2.setting(1, 0)))
        while True:
            head = read_exactly(self.conn, 9)
            payload = read_exactly(self.conn, int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == h2.SETTINGS and not flags & h2.ACK:
                self.say(h2.frame(h2.SETTINGS, h2.ACK))
            elif kind == h2.PING and not flags & h2.ACK:
                self.say(h2.frame(h2.PING, h2.ACK, 0, payload))
            elif kind == h2.HEADERS:
                # Not decoded: our own client says the method as it is, or Huffman has eaten it.
                path = b"GetServerKey" if stream == 1 else b""
                threading.Thread(target=self.answer, args=(stream, path), daemon=True).start()


def serve(conn, kind):
    try:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kind in ANSWERS:
            Connection(conn, kind).serve()
        elif kind == "hang-up":
            conn.recv(65536)
        elif kind == "reset":
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif kind == "silent":
            while conn.recv(65536):
                pass
        elif kind == "noise":
            for _ in range(100000):
                conn.sendall(os.urandom(65536))
    except OSError:
        pass
    finally:
        conn.close()


def listen(port, kinds):
    listener = socket.create_server(("0.0.0.0", port), backlog=100)
    number = 0
    while True:
        conn, _ = listener.accept()
        kind = kinds[number % len(kinds)]
        number += 1
        print(f"connection {number} on {port}: {kind}", flush=True)
        threading.Thread(target=serve, args=(conn, kind), daemon=True).start()


def main():
    port, kinds = int(sys.argv[1]), sys.argv[2:]
    for i, kind in enumerate(kinds, 1):
        threading.Thread(target=listen, args=(port + i, [kind]), daemon=True).start()
    threading.Thread(target=listen, args=(port, kinds), daemon=True).start()
    print("listening", flush=True)
    threading.Event().wait()


main()
