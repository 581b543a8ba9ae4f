"""HTTP/2 frames and gRPC framing written by hand (RFC 9113, RFC 7541 6.2.2), for those who send what no library would."""

import socket
import ssl
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field without table and Huffman; lengths up to 16 kB."""
    def text(data):
        if len(data) < 127:
            return bytes([len(data)]) + data
        rest = len(data) - 127
        number = b"\x7f"
        while rest >= 128:
            number += bytes([0x80 | rest & 0x7F])
            rest >>= 7
        return number + bytes([rest]) + data
    return b"\0" + text(name) + text(value)


def request_block(path, *more):
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"lab"),
              (b"content-type", b"application/grpc"), (b"te", b"trailers"), *more]
    return b"".join(literal(name, value) for name, value in fields)


def request(stream, path, *more, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, request_block(path, *more))


def message(data=b"", length=None):
    """gRPC: compressed flag, length, bytes."""
    return b"\0" + struct.pack(">I", len(data) if length is None else length) + data


def setting(number, value):
    return struct.pack(">HI", number, value)


def connect(host, port, tls=False, timeout=5):
    sock = socket.create_connection((host, port), timeout)
    if tls:
        context = ssl._create_unverified_context()
        context.set_alpn_protocols(["h2"])
        sock = context.wrap_socket(sock, server_hostname=host)
    return sock


class Frames:
    """Cuts a stream of bytes into (kind, flags, stream, payload)."""

    def __init__(self):
        self.data = b""

    def feed(self, data):
        self.data += data
        while len(self.data) >= 9:
            length = int.from_bytes(self.data[:3], "big")
            if len(self.data) < 9 + length:
                return
            head, payload = self.data[:9], self.data[9:9 + length]
            self.data = self.data[9 + length:]
            yield head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload
