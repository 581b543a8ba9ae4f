#!/usr/bin/env python3
"""A pair in use for ten seconds has no agent any more: it costs nothing, netbird-ice answers the peer's
checks by itself, and a new candidate or a peer from elsewhere gets an agent again. Nobody hears of it."""

import os
import re
import signal

from iceport import PORT, Client, Node, lab_module
from lab import check, wait_for

A, B = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBE="
CREDS = {A: ("aaaaaaaa", "a" * 32), B: ("bbbbbbbb", "b" * 32)}


def candidate(address, name="h0"):
    return f"{name} 1 udp 2015363327 {address} {PORT} typ host"


def connect(client, own, far, role, address):
    client.say(f"OPEN {far} {' '.join(CREDS[own])} - {role} 0 off")
    client.say(f"REMOTE {far} {' '.join(CREDS[far])} -")
    client.say(f"CANDIDATE {far} {candidate(address)}")


def expect_silence(client):
    """Whatever it has said comes before the END of a listing."""
    client.say("LIST")
    session = client.expect("SESSION ")
    client.expect("END")
    return session


def wait_log(node, text, times):
    wait_for(lambda: len(re.findall(rf" {text} peer=", node.ice.log())) >= times, 20,
             f"{node.name}: {text}, {times}", watch=[node.ice])


def n_files(node):
    return len(os.listdir(f"/proc/{node.pid()}/fd"))


def main(lab):
    a, b = Node(lab, lab.public("a"), "a"), Node(lab, lab.public("b"), "b")
    a.start()
    b.start()
    one, two = Client(a), Client(b)
    connect(one, A, B, "controlling", b.host.v4)
    connect(two, B, A, "controlled", a.host.v4)
    for client, far in ((one, B), (two, A)):
        client.expect(f"HEARD {far} ")
        client.expect(f"SELECTED {far} ")
    with_agent = n_files(a)
    wait_log(a, "settled", 1)
    wait_log(b, "settled", 1)
    empty = n_files(a)
    check(empty <= with_agent - 3, f"{empty} files, {with_agent} with the agent's two sockets and its context")
    check(a.ping(f"{b.host.v4}:{PORT}") == 5, "WireGuard's own packets")

    # The peer's netbird-ice comes back with an agent that checks anew: it is answered without one.
    plain = a.counters()["plain"]
    b.ice.signal(signal.SIGKILL)
    b.ice.popen.wait()
    b.start()
    two = Client(b)
    wait_for(lambda: a.counters()["plain"] > plain, 10, "the peer's checks are answered")
    check("unsettled" not in a.ice.log(), "an agent for a plain check")
    check(" host " in expect_silence(two), "the session of before")
    settled = b.ice.log().count(" settled peer=")
    wait_log(b, "settled", settled + 1)

    # A candidate that is known changes nothing, another one is looked at.
    one.say(f"CANDIDATE {B} {candidate(b.host.v4)}")
    expect_silence(one)
    check("unsettled" not in a.ice.log(), "an agent for a known candidate")
    second = "203.0.113.200"
    b.host.shell(f"ip addr add {second}/24 dev eth0")
    one.say(f"CANDIDATE {B} {candidate(second, 'h1')}")
    wait_log(a, "unsettled", 1)

    # Its checks find the peer settled, which has not been asked at that address before.
    wait_for(lambda: b.counters()["plain"] > 0 or "unsettled" in b.ice.log(), 10, "the peer hears of it")
    wait_log(a, "settled", 2)
    check(n_files(a) == empty, f"{n_files(a)} files, {empty} when it had settled first")

    # From an address where nobody was heard before.
    checks = a.ice.log().count("unsettled")
    b.host.shell(f"ip addr del {b.host.v4}/24 dev eth0; ip addr replace {second}/24 dev eth0; "
                 "ip route replace default via 203.0.113.254")
    b.ice.signal(signal.SIGKILL)
    b.ice.popen.wait()
    b.start()
    wait_for(lambda: a.ice.log().count("unsettled") > checks, 15, "an agent for a new source",
             watch=[a.ice, b.ice])
    a.ice.signal(signal.SIGTERM)
    check(a.ice.wait(5) == 0, "the end")


lab_module.run(main)
