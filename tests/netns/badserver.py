#!/usr/bin/env python3
"""Answers on port 8080 as something that is not a NetBird server: badserver.py KIND"""

import socket
import sys
import threading

HTTP1 = (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n"
         b"Connection: close\r\n\r\nBad Request\n")

# HTTP/2, spelled out (RFC 9113 4.1): SETTINGS, and per request HEADERS with literal fields.
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
SETTINGS_ACK = b"\0\0\0\4\1\0\0\0\0"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def read_exactly(conn, length):
    data = b""
    while len(data) < length:
        more = conn.recv(length - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def serve_h2(conn, status, content_type, body):
    read_exactly(conn, 24)  # the preface
    conn.sendall(SETTINGS)
    while True:
        header = read_exactly(conn, 9)
        length, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
        stream = int.from_bytes(header[5:9], "big") & 0x7FFFFFFF
        read_exactly(conn, length)
        if kind == 4 and not flags & 1:
            conn.sendall(SETTINGS_ACK)
        elif kind in (0, 1) and flags & 1:  # the request has ended
            fields = literal(b":status", status) + literal(b"content-type", content_type)
            conn.sendall(frame(1, 4, stream, fields) + frame(0, 1, stream, body))


def serve(conn, kind):
    try:
        if kind == "silent":
            while conn.recv(65536):
                pass
        elif kind == "garbage":
            conn.recv(65536)
            conn.sendall(b"\x15\x03\x01\x00\x02\x02\x46" * 40)
        elif kind == "http1":
            conn.recv(65536)
            conn.sendall(HTTP1)
        elif kind == "502":
            serve_h2(conn, b"502", b"text/html", b"<html>502 Bad Gateway</html>")
        elif kind == "html":
            serve_h2(conn, b"200", b"text/html", b"<html>It works!</html>")
    except OSError:
        pass
    finally:
        conn.close()


def main():
    listener = socket.create_server(("0.0.0.0", 8080))
    print("listening", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(conn, sys.argv[1]), daemon=True).start()


main()
