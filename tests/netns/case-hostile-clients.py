#!/usr/bin/env python3
"""Clients that flood the hub with HTTP/2: each is cut off and named, the hub does not grow, and the honest
are served all the time: tunnels stay, a new machine joins in the middle of it."""

import json
import os
import re
import shutil
import signal
import threading

from direct import Helper, Hub, check, connect, lab_module, overlay_ping, wait_for

CLIENT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "hostileclient.py")
FLOOD_SECONDS = 2
SLOW_SECONDS = 100
CONNECTIONS_MAX = 4096
GROWTH_MAX_KB = 48 * 1024  # more is forgotten: what comes back to the system is glibc's affair
CROWD_GROWTH_MAX_KB = 160 * 1024  # 4096 connections, half of them in a TLS handshake

# What must be in the hub's log about it; None: it may go on, within its bounds.
FLOODS = [
    ("rapid-reset", "RST_STREAM"), ("rapid-reset-full", "RST_STREAM"), ("settings", "SETTINGS"),
    ("ping", "PING"), ("ping deaf", "PING|listens|Flooding"), ("continuation", "CONTINUATION|HTTP/2"),
    ("huge-headers", "break the rules"), ("streams", "break the rules|HTTP/2"),
    ("streams deaf", "listens|break the rules|HTTP/2"), ("window-updates", "WINDOW_UPDATE"),
    ("garbage-frames", "HTTP/2|frames"), ("ping tls", "PING"), ("rapid-reset tls", "RST_STREAM"),
    ("zero-window deaf", None), ("announced", None), ("big-message", None), ("endless-body", None),
    ("garbage-messages", None), ("many-calls", None),
]


class Memory(threading.Thread):
    """The most that a process had in use."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most_kb, self.first_kb = pid, 0, self.now_kb(pid)
        self.stop = threading.Event()
        self.start()

    @staticmethod
    def now_kb(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])

    def run(self):
        while not self.stop.wait(0.05):
            self.most_kb = max(self.most_kb, self.now_kb(self.pid))

    def grown_kb(self):
        return max(self.most_kb, self.now_kb(self.pid)) - self.first_kb


def attack(lab, hub, words, seconds):
    kind, *options = words.split()
    host = lab.public("x-" + words.replace(" ", "-"))
    proc = host.start("attack", ["nice", "python3", CLIENT, kind, hub.address, hub.port, seconds, *options])
    return host, proc


def result(proc, seconds):
    check(proc.wait(seconds + 30) == 0, f"{proc.name}: {proc.log()}")
    return json.loads(proc.log())


def check_floods(lab, hub, pings):
    for words, why in FLOODS:
        memory = Memory(hub.proc.pid)
        host, proc = attack(lab, hub, words, FLOOD_SECONDS)
        done = result(proc, FLOOD_SECONDS)
        memory.stop.set()
        print(f"{words}: {done}, hub grew by {memory.grown_kb()} kB")
        check(done["sent"] > 100, f"{words}: nothing was sent: {done}")
        check(memory.grown_kb() < GROWTH_MAX_KB, f"{words}: the hub grew by {memory.grown_kb()} kB")
        check(hub.proc.poll() is None and pings.poll() is None, f"{words}: something ended")
        if why is None:
            continue
        check(done["ended"] > 0, f"{words}: was not cut off: {done}")
        named = [line for line in hub.proc.log().splitlines() if f"address={host.v4} " in line]
        check(named and re.search(why, " ".join(named)), f"{words}: the log says {named}")


# Connections that never get anywhere, and what the log says about them. The others end by GOAWAY after a minute.
SLOW = [
    ("silence", "no beginning of HTTP/2"), ("slow-preface", "no beginning of HTTP/2"), ("tls-stall", "TLS handshake"),
    ("slow-headers", None), ("endless-headers", None), ("no-message", None), ("half-message", None), ("http1", None),
    ("silence tls", "TLS handshake"),
]


def check_slow(hub, slow):
    for (words, why), (host, proc) in slow:
        done = result(proc, SLOW_SECONDS)
        print(f"{words}: {done}")
        check(done["held"] == 0, f"{words}: the hub keeps {done['held']} connections: {done}")
        named = [line for line in hub.proc.log().splitlines() if f"address={host.v4} " in line]
        check(why is None or (named and why in " ".join(named)), f"{words}: the log says {named}")


def check_all_at_once(lab, hub, key, a):
    """Several floods side by side, and a machine that wants to join."""
    procs = [attack(lab, hub, f"{kind} deaf", 15)[1] for kind in ("many-calls", "endless-body", "zero-window")]
    procs += [attack(lab, hub, f"{kind} tls", 15)[1] for kind in ("many-calls", "rapid-reset-full")]
    join(lab, hub, key, "c", a)
    for proc in procs:
        proc.stop()


def check_crowds(lab, hub, key, a, b):
    """More connections than there may be, and a machine that wants to join."""
    memory = Memory(hub.proc.pid)
    attacks = [attack(lab, hub, f"{kind} {count}", 40)[1] for kind, count in (
        ("half-message", 2500), ("tls-stall", 2500), ("no-message", 1500))]
    wait_for(lambda: connections(hub) >= CONNECTIONS_MAX - 200, 30, "the hub is full", watch=[hub.proc])
    overlay_ping(join(lab, hub, key, "d", a).host, b.overlay())
    most = connections(hub)
    for proc in attacks:
        proc.stop()
    wait_for(lambda: connections(hub) < 50, 30, "the hub is empty again", watch=[hub.proc])
    memory.stop.set()
    print(f"crowd: {most} connections, the hub grew by {memory.grown_kb()} kB")
    wait_for(lambda: Memory.now_kb(hub.proc.pid) - memory.first_kb < GROWTH_MAX_KB, 20,
             "the hub gives the crowd's memory back")
    check(most <= CONNECTIONS_MAX, f"{most} connections")
    check(memory.grown_kb() < CROWD_GROWTH_MAX_KB, f"the hub grew by {memory.grown_kb()} kB")


def is_socket(path):
    try:
        return "socket:" in os.readlink(path)
    except OSError:
        return False  # closed meanwhile


def connections(hub):
    """Without the sockets that it listens on: TCP and STUN."""
    directory = f"/proc/{hub.proc.pid}/fd"
    return sum(is_socket(os.path.join(directory, fd)) for fd in os.listdir(directory)) - 2


def join(lab, hub, key, name, a):
    """A new machine, from nothing to a direct path."""
    c = Helper(lab.nat(f"nat-{name}").host(name)).start(hub.url, key, SSL_CERT_FILE=hub.certificates.ca)
    c.overlay(30)
    c.wait_direct(a.key, 30)
    overlay_ping(c.host, a.overlay())
    return c


def main(lab):
    if not shutil.which("openssl"):
        lab_module.skip("no openssl command")
    hub = Hub(lab.public("hub"), tls=True)
    key = hub.key("--reusable")
    slow = [(entry, attack(lab, hub, entry[0], SLOW_SECONDS)) for entry in SLOW]
    a, b = connect(hub, lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b"), SSL_CERT_FILE=hub.certificates.ca)
    overlay_ping(a.host, b.overlay())
    pings = a.host.start("ping", ["ping", "-n", "-i", "0.1", "-W", "1", b.overlay()])
    before = {pid for helper in (a, b) for pid in helper.pids()}
    first_kb = Memory.now_kb(hub.proc.pid)
    check_floods(lab, hub, pings)
    check_all_at_once(lab, hub, key, a)
    check_slow(hub, slow)
    check_crowds(lab, hub, key, a, b)

    pings.signal(signal.SIGINT)
    pings.wait(10)
    sent, answered = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", pings.log()).groups())
    print(f"{answered} of {sent} pings answered")
    check(sent - answered <= 1, f"{sent - answered} of {sent} pings lost")
    for helper in (a, b):
        check(set(helper.pids()) <= before, "a program ended and was started again")
        status = helper.status()
        check(status["management"]["connected"] and status["signal"]["connected"],
              f"{helper.host.name} has lost its servers: {status['management']} {status['signal']}")
    log = hub.proc.log()
    print(f"the hub's log: {log.count(chr(10))} lines; memory {first_kb} -> {Memory.now_kb(hub.proc.pid)} kB")
    check(log.count("\n") < 300, "the log was flooded, too")


lab_module.run(main)
