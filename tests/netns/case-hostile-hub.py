#!/usr/bin/env python3
"""A hub that means harm: what it says and cannot be done is named in status, everything else goes on,
and a tunnel that it did not take away loses nothing. tests/tools/bad-hub says what is built here."""

import base64
import hashlib
import json
import os
import re
import signal
import time

from direct import Helper, check, lab_module, overlay_ping, wait_for
from programs import INTERFACE, ticks_of
from restarts import Pings, daemon_pids, programs_pids, rss_anon_kb

PEERS_MAX = 16384
PREFIX = "refused from management: "
GROWTH_MAX_KB = 24 * 1024
CROWD_GROWTH_MAX_KB = 48 * 1024  # what is in pieces after 16384 peers came and went: 28 MB
LOG_MAX_BYTES = 512 * 1024
A, B = "100.64.0.1", "100.64.0.2"


# Protobuf, as far as these messages need it: varints and length-delimited fields.

def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def num(field, value):
    return varint(field << 3) + varint(value % 2**64)


def sub(field, value):
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def remote(key, allowed, fqdn="", version="0.77.1+nbh"):
    return sub(1, key) + b"".join(sub(2, ip) for ip in allowed) + sub(4, fqdn) + sub(5, version)


def peer_config(address=f"{A}/16", mtu=0):
    return sub(1, address) + sub(4, "client-0.netbird.lab") + num(7, mtu)


def sync(peers=None, config=None, serial=7, stuns=()):
    """A SyncResponse: netbirdConfig 1, networkMap 5."""
    servers = b"".join(sub(1, sub(1, uri)) for uri in stuns)
    message = sub(1, servers) if stuns else b""
    if peers is not None:
        body = num(1, serial) + sub(2, config or peer_config())
        message += sub(5, body + b"".join(sub(3, peer) for peer in peers))
    return message


def fake_key(number, top=0xFE):
    """No peer has it; behind all others in key order, so that what it claims goes to them."""
    digest = hashlib.sha256(str(number).encode()).digest()
    return base64.b64encode(bytes([top]) + digest[1:]).decode()


class BadHub:
    def __init__(self, host):
        self.host, self.dir = host, host.lab.dir("bad-hub")
        program = os.path.join(os.environ.get("NBH_BIN_DIR", ""), "tests", "tools", "bad-hub")
        if not os.access(program, os.X_OK):
            lab_module.skip(f"no {program}: make tests/tools/bad-hub")
        self.url = f"http://{host.v4}:8080"
        self.fifo = os.path.join(self.dir, "script")
        os.mkfifo(self.fifo)
        self.n_done = self.n_files = 0
        self.proc = host.start("bad-hub", [program, host.v4, 8080, self.fifo])
        wait_for(lambda: "listening" in self.proc.log(), 10, "bad-hub listens", watch=[self.proc])

    def say(self, line, seconds=20):
        before = self.proc.log().count("\ndone ")
        with open(self.fifo, "w", encoding="ascii") as file:
            file.write(line + "\n")
        wait_for(lambda: self.proc.log().count("\ndone ") > before, seconds, f"bad-hub: {line}",
                 watch=[self.proc])

    def file(self, message):
        self.n_files += 1
        path = os.path.join(self.dir, f"message-{self.n_files}")
        with open(path, "wb") as file:
            file.write(message)
        return path

    def send(self, message):
        self.say(f"send 0 {self.file(message)}")

    def honest(self):
        self.say("honest")


class Bench:
    """a is told lies by the hub, and its tunnel to b carries pings all the time."""

    def __init__(self, hub, a, b):
        self.hub, self.a, self.b = hub, a, b
        self.pids = {helper: programs_pids(helper) for helper in (a, b)}
        self.endpoint = a.direct_endpoint(b.key)
        self.pings = Pings(a.host, B)

    def good(self, extra=(), **more):
        return sync([remote(self.b.key, [f"{B}/32"], "b.netbird.lab"), *extra], **more)

    def notes(self):
        return (self.a.status() or {}).get("notes", [])

    def wait_note(self, text, seconds=15):
        try:
            wait_for(lambda: any(text in note for note in self.notes()), seconds, f"a note: {text}",
                     watch=[self.a.proc])
        except lab_module.Failed:
            print("\n".join(self.notes()))
            raise

    def clean(self):
        """The hub is honest again, and nothing is said any more."""
        self.hub.honest()
        wait_for(lambda: not any(PREFIX in note or "skipped" in note for note in self.notes()), 15,
                 "no more refusals", watch=[self.a.proc])

    def check_unharmed(self, what, lost_max=0):
        self.pings.more()
        lost = self.pings.lost()
        check(len(lost) <= lost_max, f"{what}: pings {lost[:20]} lost")
        check(self.a.direct_endpoint(self.b.key) == self.endpoint, f"{what}: the path has moved")
        for helper, pids in self.pids.items():
            check(programs_pids(helper) == pids, f"{what}: a program of {helper.host.name} ended")
        print(f"{what}: {len(lost)} of {max(self.pings.answered())} pings lost", flush=True)

    def lie(self, what, message, *wanted):
        self.hub.send(message)
        for text in wanted:
            self.wait_note(text)
        self.check_unharmed(what)


def short(key):
    return key[:8]


def high_water(pid):
    return re.search(r"VmHWM:\s+(.*)", lab_module.read_text(f"/proc/{pid}/status"))[0]


def check_limits(bench):
    """Above the limit: refused whole; at it: taken. Memory comes back."""
    before = rss_anon_kb(bench.a)
    [pid] = daemon_pids(bench.a, "netbird-helper")
    began = time.monotonic()
    bench.hub.send(bench.good([remote(fake_key(n), [f"100.64.{n >> 8}.{n & 255}/32"])
                               for n in range(256, 256 + PEERS_MAX - 1)]))
    wait_for(lambda: bench.a.status()["peers"]["total"] == PEERS_MAX, 60, f"{PEERS_MAX} peers", watch=[bench.a.proc])
    print(f"{PEERS_MAX} peers in status after {time.monotonic() - began:.1f} s", flush=True)
    bench.check_unharmed(f"{PEERS_MAX} peers")
    began = time.monotonic()
    bench.clean()
    wait_for(lambda: bench.a.status()["peers"]["total"] == 1, 60, "one peer", watch=[bench.a.proc])
    print(f"one peer in status after {time.monotonic() - began:.1f} s; {high_water(pid)}", flush=True)
    many = [remote(fake_key(n), []) for n in range(100000)]
    bench.lie("100 000 peers", bench.good(many),
              f"{PREFIX}remotePeers: 100001 peers, limit {PEERS_MAX}")
    check(bench.a.status()["peers"]["total"] == 1, "the map of before stays")
    check(bench.a.status()["daemonStatus"] == "Connected", "the stream stays")
    wait_for(lambda: rss_anon_kb(bench.a)["netbird-helper"] - before["netbird-helper"] < CROWD_GROWTH_MAX_KB, 15,
             "the helper's memory goes back")
    after = rss_anon_kb(bench.a)
    print(f"RssAnon before {before}, after 100 000 peers {after} kB; {high_water(pid)}", flush=True)
    growth = {name: after[name] - before[name] for name in before}
    check(max(growth.values()) < CROWD_GROWTH_MAX_KB, f"grown by {growth} kB")
    bench.lie("too many prefixes of one",
              bench.good([remote(fake_key(1), [f"100.64.{n >> 8}.{n & 255}/32" for n in range(513)])]),
              "allowedIps: 513 entries, limit 512")
    bench.clean()


def check_prefixes(bench):
    key_b, evil = bench.b.key, fake_key("evil")
    hub = bench.hub.host.v4
    outside = ["0.0.0.0/0", "::/0", f"{hub}/32", "10.0.1.0/24", "127.0.0.1/32", "224.0.0.0/4",
               "fe80::/10", "100.0.0.0/8"]
    routes = bench.a.host.run(["ip", "-d", "route", "show", "table", "all"]).stdout
    bench.lie("default routes and the LAN", bench.good([remote(evil, outside + [f"{A}/32"])]),
              *[f"peer {short(evil)}: allowedIps \"{ip}\": outside our own network" for ip in outside],
              f"peer {short(evil)}: allowedIps \"{A}/32\": our own address")
    check(bench.a.host.run(["ip", "-d", "route", "show", "table", "all"]).stdout == routes, "routes changed")
    shown = bench.a.host.run(["wg", "show", INTERFACE, "allowed-ips"]).stdout
    check(not any(ip in shown for ip in outside), f"allowed IPs: {shown}")
    bench.lie("overlapping", bench.good([remote(evil, [f"{B}/32", "100.64.0.0/16"])]),
              f"peer {short(evil)}: allowedIps \"{B}/32\": peer {short(key_b)} has it already")
    bench.lie("not a prefix", bench.good([remote(evil, ["100.64.0.9/33\x1b[2J"])]),
              f"peer 1 ({short(evil)}): allowedIps \"100.64.0.9/33?[2J\": not a prefix")
    bench.clean()


def check_keys(bench):
    own = bench.a.key
    bench.lie("own key, the same key twice, no keys",
              bench.good([remote(own, [f"{B}/32"]), remote(bench.b.key, ["100.64.0.77/32"]),
                          remote(base64.b64encode(bytes(32)).decode(), ["100.64.0.78/32"]),
                          remote("AAAA", [])]),
              f"peer 1 ({short(own)}): wgPubKey \"{own}\": our own key",
              f"peer {short(bench.b.key)}: the same key a second time",
              "peer AAAAAAAA: the key is all zero", "peer 4 (AAAA): wgPubKey \"AAAA\": no key")
    bench.clean()


def check_own_address(bench):
    """Nothing that would take this host's own network, or the way to the hub, or the Internet."""
    device = bench.a.device()
    hub = bench.hub.host.v4
    for config, text in (
            (peer_config(mtu=70000), "peerConfig.mtu 70000: not 576 to 8192"),
            (peer_config(mtu=-5), "peerConfig.mtu -5: not 576 to 8192"),
            (peer_config(f"{A}/0"), f"peerConfig.address \"{A}/0\": a network wider than /8"),
            (peer_config("127.0.0.1/8"), "peerConfig.address \"127.0.0.1/8\": not an address"),
            (peer_config("224.0.0.1/24"), "peerConfig.address \"224.0.0.1/24\": not an address"),
            (peer_config("\x1b[31mred"), "peerConfig.address \"?[31mred\": not an address"),
            (peer_config("10.0.1.77/24"), "peerConfig.address \"10.0.1.77/24\": the address of eth0, 10.0.1.2, "),
            (peer_config(f"{hub.rsplit('.', 1)[0]}.77/24"), f"the management server, {hub}, would be inside")):
        bench.lie(f"own address: {text}", bench.good(config=config), PREFIX, text)
    check(bench.a.device() == device, "device.json has changed")
    bench.clean()


def check_servers(bench):
    stuns = ["stun:127.0.0.1:3478", f"stun:{B}:3478", "stun:224.0.0.1:3478", "stun:169.254.169.254:80",
             "stun:\x1b]0;x\x07:1", "http://x", *["stun:203.0.113.250:3478"] * 13]
    bench.lie("STUN servers", bench.good(stuns=stuns), "stuns[4] \"stun:?]0;x?:1\": not stun:HOST:PORT",
              "stuns[5] \"http://x\": not stun:HOST:PORT", "stuns[18] \"stun:203.0.113.250:3478\": one too many")
    seen = {relay["uri"]: relay["error"] for relay in bench.a.status()["relays"]["details"]}
    for uri, why in zip(stuns, ("loopback", "inside our own network", "multicast or broadcast", "link-local")):
        check(seen.get(uri) == why, f"{uri}: {seen}")
    bench.hub.send(bench.good(stuns=["stun:203.0.113.250:3478"]))
    bench.clean()


def check_names(bench):
    """A name must neither command a terminal nor break a line, and it may be long."""
    evil = ["\x1b]0;owned\x07\x1b[2J", "a\nb=c level=error", "\u009b31mred", "r\u202egnp.sh", "x" * 100000]
    raw = [sub(1, fake_key("utf8")) + sub(4, b"\xff\xfe\x9b2J\xc3") + sub(5, b"\x9b1m\xff")]
    bench.lie("names", bench.good([remote(fake_key(n), [], name, name) for n, name in enumerate(evil)] + raw))
    wait_for(lambda: bench.a.status()["peers"]["total"] == 7, 10, "the peers with the names are there")
    for words in (["status"], ["status", "--detail"], ["status", "--json"]):
        text = bench.a.command(*words).stdout
        check(len(text) < 100000, f"{words}: {len(text)} characters")
        bad = re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ufffd]", text)
        check(not bad, f"{words}: {bad}")
    check(b"\x1b" not in bench.a.proc.log().encode() and "\nb=c" not in bench.a.proc.log(), "the log")
    bench.clean()
    wait_for(lambda: bench.a.status()["peers"]["total"] == 1, 10, "the honest map is back")


def check_serials(bench):
    """Serials jump forth and back; what the newest message says counts."""
    for serial, total in ((2**64 - 1, 2), (0, 1), (5, 2), (5, 1)):
        extra = [remote(fake_key("serial"), [])] if total == 2 else []
        bench.hub.send(bench.good(extra, serial=serial))
        wait_for(lambda: bench.a.status()["peers"]["total"] == total, 10, f"serial {serial}: {total} peers")
    bench.check_unharmed("serials")


def flood(bench, what, one, other, rate, seconds, lost_max=0):
    """Prints what it cost; the honest map counts afterwards."""
    [pid] = daemon_pids(bench.a, "netbird-helper")
    before, log_before = rss_anon_kb(bench.a), len(bench.a.proc.log())
    used = {name: sum(ticks_of(p) for p in daemon_pids(bench.a, name)) for name in before}
    bench.hub.say(f"flood 0 {bench.hub.file(one)} {bench.hub.file(other)} {rate} {seconds}", seconds + 60)
    used = {name: sum(ticks_of(p) for p in daemon_pids(bench.a, name)) - used[name] for name in used}
    sent = re.findall(r"flooded (\d+)", bench.hub.proc.log())[-1]
    bench.clean()
    after = rss_anon_kb(bench.a)
    print(f"{what}: {sent} maps in {seconds} s; ticks {used}; RssAnon {before} -> {after} kB; "
          f"log +{len(bench.a.proc.log()) - log_before} bytes", flush=True)
    check(max(after[name] - before[name] for name in before) < GROWTH_MAX_KB, "memory has grown")
    check(len(bench.a.proc.log()) - log_before < LOG_MAX_BYTES, "too much in the log")
    check(pid in daemon_pids(bench.a, "netbird-helper"), "the helper ended")
    return used


def check_floods(bench):
    extra = [remote(fake_key("flood"), ["100.64.9.9/32"], "flood.netbird.lab")]
    used = flood(bench, "1000 maps/s", bench.good(extra), bench.good(), 1000, 5)
    check(used["netbird-helper"] < 5 * 60 and used["netbird-wg"] < 5 * 60, f"ticks {used} in 5 s")
    bench.check_unharmed("1000 maps/s")
    check("too-many-maps held=" in bench.a.proc.log(), "nothing was said about the flood")
    crowd = [remote(fake_key(n), [], f"peer-{n}.netbird.lab") for n in range(1000)]
    flood(bench, "50 maps/s, 1000 peers come and go", bench.good(crowd), bench.good(), 50, 5)
    bench.check_unharmed("1000 peers come and go")


def check_moving_address(bench):
    """The hub moves us about: what was on its way is lost, the path is not."""
    bench.pings.done()
    moved = bench.good(config=peer_config("100.64.99.1/16"))
    flood(bench, "our address, every second", moved, bench.good(), 1, 4)
    flood(bench, "our address, 1000 times a second", moved, bench.good(), 1000, 3)

    def has_address():
        return A in bench.a.host.run(["ip", "-4", "addr", "show", "dev", INTERFACE]).stdout
    wait_for(has_address, 15, "the honest address is back")
    bench.pings = Pings(bench.a.host, B, "pings-moved")
    bench.check_unharmed("after that")


def check_signal(lab, hub, bench):
    """A signal server on this very host is not talked to."""
    c = Helper(lab.public("c"))
    heard = c.host.start("listener", ["python3", "-uc", """
import socket
s = socket.create_server(("127.0.0.1", 6379))
print("listening")
while True:
    print("somebody came", s.accept())"""])
    wait_for(lambda: "listening" in heard.log(), 10, "something listens on loopback", watch=[heard])
    hub.say("signal 127.0.0.1 6379")
    c.start(hub.url, "any")
    c.overlay()
    text = 'netbirdConfig.signal.uri "127.0.0.1": an address of this host only'
    wait_for(lambda: any(text in note for note in (c.status() or {}).get("notes", [])), 15, text, watch=[c.proc])
    check("somebody" not in heard.log(), f"it was talked to: {heard.log()}")
    hub.say(f"signal {hub.host.v4} 8080")
    hub.honest()
    wait_for(lambda: c.status()["daemonStatus"] == "Connected", 15, "the right signal server is used")
    check("somebody" not in heard.log(), f"it was talked to: {heard.log()}")
    c.wait_direct(bench.b.key)
    c.stop(signal.SIGTERM)
    bench.check_unharmed("signal on loopback")


def check_renamed(bench):
    """Our own network on the interface that we had before is not somebody else's."""
    a = bench.a
    a.stop()
    path = os.path.join(a.dir, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["interface"] = "nbh7"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    a.start()
    wait_for(lambda: (a.device() or {}).get("interface") == "nbh7", 15, "device.json names the new interface",
             watch=[a.proc])
    wait_for(lambda: A in a.host.run(["ip", "-4", "addr", "show", "dev", "nbh7"], ok=False).stdout, 15,
             "it has our address")
    overlay_ping(bench.b.host, A)
    check(not any(PREFIX in note for note in bench.notes()), f"notes: {bench.notes()}")


def main(lab):
    hub = BadHub(lab.public("hub"))
    a = Helper(lab.nat("nat-a").host("a")).start(hub.url, "any")
    check(a.overlay() == A, "a is client 0")
    b = Helper(lab.public("b")).start(hub.url, "any")
    check(b.overlay() == B, "b is client 1")
    a.key, b.key = a.public_key(), b.public_key()
    a.wait_direct(b.key)
    b.wait_direct(a.key)
    overlay_ping(a.host, B)
    bench = Bench(hub, a, b)
    check_prefixes(bench)
    check_keys(bench)
    check_own_address(bench)
    check_servers(bench)
    check_names(bench)
    check_serials(bench)
    check_floods(bench)
    check_limits(bench)
    check_moving_address(bench)
    check_signal(lab, hub, bench)
    bench.pings.done()
    check_renamed(bench)
    for helper in (a, b):
        check(not re.search(r"\bbug\b|CRITICAL|WARNING \*\*", helper.proc.log()), "the log names a bug")


lab_module.run(main)
