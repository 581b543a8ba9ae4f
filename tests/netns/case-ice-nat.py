#!/usr/bin/env python3
"""netbird-ice behind two port-restricted NATs: the pair, the time, the punched path, loss, silence between helpers."""

import time

from iceport import Node, PORT, drive_hosts, lab_module, tool
from lab import check, wait_for

STUN_PORT = 3478


def check_loss(a, b, stun):
    """The far end falls silent: LOST after the time that was asked for, and no FAILED."""
    session = drive_hosts(a, b, *stun, "--liveness", "3000")
    check(session.last("selected", "A"), session.text)
    b.ice.stop()
    began = time.monotonic()
    wait_for(lambda: "lost peer=" in a.ice.log(), 8, "LOST")
    check(time.monotonic() - began > 1.5, "LOST too early")
    b.start()


def check_silence(a, b, stun):
    """Between helpers nothing is sent once a pair is selected."""
    drive_hosts(a, b, *stun, "--liveness", "0", "--no-keepalives", "--letters", "eF", "--hold", "6000")
    before = a.counters()
    listed = drive_hosts(a, b, "--no-open", "--hold", "27000", seconds=90)
    after = a.counters()
    check(before == after, f"traffic between helpers: {before} {after}")
    check(listed.last("session", "A") == ["e" * 16, "selected"], listed.text)


def main(lab):
    server = lab.public("stun")
    server.start("stun", [tool("stun-standin"), f"{server.v4}:{STUN_PORT}"])
    nat_a, nat_b = lab.nat("na"), lab.nat("nb")
    a, b = Node(lab, nat_a.host("a"), "a"), Node(lab, nat_b.host("b"), "b")
    a.start()
    b.start()
    stun = ["--stun", f"{server.v4}:{STUN_PORT}"]
    own, far = f"{nat_a.public_v4}:{PORT}", f"{nat_b.public_v4}:{PORT}"
    for flags in ([], ["--a-controlled"]):
        result = drive_hosts(a, b, *stun, "--rounds", "5", *flags)
        check(result.last("mapped", "A") == [own], f"mapped: {result.text}")
        check(result.pair("A") == ["prflx", own, "srflx", far], f"pair: {result.text}")
        times = sorted(result.selected_ms()["A"])
        print(f"# offer to selected pair, two NATs: {times} ms")
        check(times[len(times) // 2] < 150, f"slow: {result.text}")
        check(a.ping(far) == 5, "the punched path carries WireGuard's packets")
        check(b.ping(own) == 5, "the punched path carries WireGuard's packets")
    check_silence(a, b, stun)
    check_loss(a, b, stun)


lab_module.run(main)
