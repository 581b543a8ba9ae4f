"""officialpeer ADDRESS PORT THEIR_LETTER OUR_LETTER ROLE CONTROL: an ICE peer with the manners of the
official NetBird client, as far as netbird-ice meets them (interop.md rules 1, 2, 4 and 11).

It holds one UDP port, checks ADDRESS:PORT every 50 ms until the first answer and every 2 s then, puts
0x8100 behind FINGERPRINT of everything, answers every request twice, and looks at what comes back.
Credentials are 16 and 32 times a letter. It is silent while the file CONTROL exists.
Prints "answered N echo|plain|bad" for each answer and "asked N" for each request.
"""

import hashlib
import hmac
import os
import select
import socket
import struct
import sys
import time
import zlib

COOKIE = 0x2112A442
REQUEST, SUCCESS = 0x0001, 0x0101
USERNAME, INTEGRITY, PRIORITY, USE_CANDIDATE, XOR_MAPPED = 0x0006, 0x0008, 0x0024, 0x0025, 0x0020
FINGERPRINT, CONTROLLED, CONTROLLING, PAIR_ID = 0x8028, 0x8029, 0x802A, 0x8100
OUR_ID, THEIR_ID = b"o" * 32, b"t" * 32


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def message(kind, txid, attributes, password, pair_id):
    body = b"".join(attribute(*a) for a in attributes)

    def header(extra):
        return struct.pack("!HHI", kind, len(body) + extra, COOKIE) + txid
    body += attribute(INTEGRITY, hmac.new(password, header(24) + body, hashlib.sha1).digest())
    body += attribute(FINGERPRINT, struct.pack("!I", zlib.crc32(header(8) + body) ^ 0x5354554E))
    body += attribute(PAIR_ID, pair_id)
    return header(0) + body


def parse(data):
    kind, length, cookie = struct.unpack("!HHI", data[:8])
    if cookie != COOKIE or length + 20 != len(data):
        return None, None, None
    found, at = {}, 20
    while at + 4 <= len(data):
        name, size = struct.unpack("!HH", data[at:at + 4])
        found.setdefault(name, (at, data[at + 4:at + 4 + size]))
        at += 4 + size + -size % 4
    return kind, data[8:20], found


def is_authentic(data, found, password):
    if INTEGRITY not in found:
        return False
    at, value = found[INTEGRITY]
    signed = data[:2] + struct.pack("!H", at + 24 - 20) + data[4:at]
    return hmac.compare_digest(hmac.new(password, signed, hashlib.sha1).digest(), value)


class Peer:
    def __init__(self):
        self.target = (sys.argv[1], int(sys.argv[2]))
        their, our, self.role, self.control = sys.argv[3:7]
        self.their_ufrag, self.their_pwd = their * 16, (their * 32).encode()
        self.our_ufrag, self.our_pwd = our * 16, (our * 32).encode()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("0.0.0.0", int(sys.argv[2])))
        self.open = set()
        self.n_answered = self.n_asked = 0

    def check(self):
        txid = os.urandom(12)
        self.open.add(txid)
        attributes = [(USERNAME, f"{self.their_ufrag}:{self.our_ufrag}".encode()),
                      (PRIORITY, struct.pack("!I", 1845494271)),
                      (CONTROLLING if self.role == "controlling" else CONTROLLED, bytes(8))]
        if self.role == "controlling":
            attributes.append((USE_CANDIDATE, b""))
        self.sock.sendto(message(REQUEST, txid, attributes, self.their_pwd, OUR_ID + b":" + THEIR_ID), self.target)

    def answer(self, txid, sender):
        port = sender[1] ^ COOKIE >> 16
        address = struct.unpack("!I", socket.inet_aton(sender[0]))[0] ^ COOKIE
        mapped = struct.pack("!BBHI", 0, 1, port, address)
        for twin in (OUR_ID, b"x" * 32):
            self.sock.sendto(message(SUCCESS, txid, [(XOR_MAPPED, mapped)], self.our_pwd,
                                     THEIR_ID + b":" + twin), sender)

    def take(self, data, sender):
        kind, txid, found = parse(data)
        if kind == REQUEST and is_authentic(data, found, self.our_pwd):
            self.n_asked += 1
            print(f"asked {self.n_asked}", flush=True)
            self.answer(txid, sender)
        elif kind == SUCCESS and txid in self.open:
            self.open.discard(txid)
            self.n_answered += 1
            at, pair_id = found.get(PAIR_ID, (0, b""))
            good = pair_id == THEIR_ID + b":" + OUR_ID and at == found[FINGERPRINT][0] + 8
            word = "echo" if good else "bad" if pair_id else "plain"
            if not is_authentic(data, found, self.their_pwd):
                word = "bad"
            print(f"answered {self.n_answered} {word}", flush=True)

    def run(self):
        due = 0.0
        while True:
            is_silent = os.path.exists(self.control)
            now = time.monotonic()
            if now >= due and not is_silent:
                self.check()
                due = now + (2.0 if self.n_answered else 0.05)
            if select.select([self.sock], [], [], 0.02)[0]:
                data, sender = self.sock.recvfrom(2048)
                if not is_silent:
                    self.take(data, sender)


Peer().run()
