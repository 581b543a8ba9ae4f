#!/usr/bin/env python3
"""200 agents in each of two netbird-ice: all connect, none is lost, memory and CPU stay small."""

import base64
import os
import time

from iceport import Client, Node, PORT, lab_module
from lab import check, read_text, wait_for

N = 200
TICKS = os.sysconf("SC_CLK_TCK")


class Side(Client):
    def __init__(self, node):
        super().__init__(node)
        self.selected, self.other = set(), []

    def take(self, seconds):
        line = self.read(seconds)
        if not line:
            return False
        if line.startswith("SELECTED "):
            self.selected.add(line.split()[1])
        elif not line.startswith("HEARD "):  # of which there is one per session
            self.other.append(line)
        return True


def key(side, number):
    return base64.b64encode(bytes([side]) + number.to_bytes(31, "big")).decode()


def creds(side, number):
    return f"{side}{number:015d}", f"{side}{number:031d}"


def open_all(client, side, far, far_addr):
    for i in range(N):
        name, mine, theirs = key(side, i), creds("ab"[side], i), creds("ab"[far], i)
        role = "controlling" if side else "controlled"
        client.say(f"OPEN {name} {mine[0]} {mine[1]} - {role} 0 off")
        client.say(f"REMOTE {name} {theirs[0]} {theirs[1]} -")
        client.say(f"CANDIDATE {name} h0 1 udp 2015363327 {far_addr} {PORT} typ host")


def status(node, field):
    for line in read_text(f"/proc/{node.pid()}/status").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def cpu_s(node):
    fields = read_text(f"/proc/{node.pid()}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main(lab):
    lab.dump_only = ["none"]
    a, b = Node(lab, lab.public("a"), "a"), Node(lab, lab.public("b"), "b")
    a.start()
    b.start()
    clients = [Side(a), Side(b)]
    print(f"# empty: RSS {status(a, 'VmRSS')} kB, anonymous {status(a, 'RssAnon')} kB")
    began = time.monotonic()
    open_all(clients[0], 0, 1, b.host.v4)
    open_all(clients[1], 1, 0, a.host.v4)
    while any(len(client.selected) < N for client in clients):
        check(time.monotonic() - began < 30, f"selected {[len(c.selected) for c in clients]} of {N}")
        for client in clients:
            while client.take(0.01):
                pass
    print(f"# {N} selected on both sides after {time.monotonic() - began:.2f} s, CPU {cpu_s(a):.2f} s")
    time.sleep(8)  # libnice ticks every 20 ms until 5 s after the last check
    before, rss, counters = cpu_s(a), status(a, "VmRSS"), a.counters()
    time.sleep(30)
    used = cpu_s(a) - before
    print(f"# idle: RSS {rss} kB, anonymous {status(a, 'RssAnon')} kB, CPU {used:.2f} s in 30 s")
    check(rss < 60000 or "asan" in os.environ.get("ASAN_OPTIONS", ""), f"RSS {rss} kB")
    check(used < 0.3, f"CPU {used} s in 30 s")
    check(a.counters() == counters, "traffic while idle")
    check(not clients[0].other and not clients[1].other, f"{clients[0].other[:3]} {clients[1].other[:3]}")

    # A client that does not read is dropped, and costs no more than the queue may hold.
    lazy = Client(a)
    try:
        for _ in range(2000):
            lazy.say("LIST")
    except OSError:
        pass
    wait_for(lambda: "client-gone" in a.ice.log(), 10, "a lazy client dropped")
    check(status(a, "VmRSS") < rss + 20000, f"RSS {status(a, 'VmRSS')} kB for a lazy client")

    clients[0] = Side(a)
    clients[0].say("CLOSE_ALL")
    clients[0].say("LIST")
    check(clients[0].take(5) and clients[0].other == ["END"], "sessions after CLOSE_ALL")
    fds = len(os.listdir(f"/proc/{a.pid()}/fd"))
    check(fds < 20, f"{fds} descriptors left open")
    check(b.ice.stop() == 0, b.ice.log())  # with all its sessions
    print(f"# closed: RSS {status(a, 'VmRSS')} kB")


lab_module.run(main)
