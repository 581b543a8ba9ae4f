#!/usr/bin/env python3
"""netbird-ice over IPv6 alone, over both families, with several addresses, and where no path exists."""

from iceport import Node, PORT, drive, drive_hosts, lab_module
from lab import check


def main(lab):
    a, b = (Node(lab, lab.public(name, v4=False, v6=True), name) for name in "ab")
    c = Node(lab, lab.public("c", v6=True), "c")
    d = Node(lab, lab.public("d", v6=True), "d")
    for node in (a, b, c, d):
        node.start()
    result = drive_hosts(a, b)
    check(result.pair("A")[1::2] == [f"[{a.host.v6}]:{PORT}", f"[{b.host.v6}]:{PORT}"], result.text)
    check(a.ping(f"[{b.host.v6}]:{PORT}") == 5, "IPv6 path")

    both = drive_hosts(c, d)
    check(both.pair("A")[3] in (f"[{d.host.v6}]:{PORT}", f"{d.host.v4}:{PORT}"), both.text)

    # An answer leaves from the address that was asked, not from the one that routing prefers.
    d.host.shell("ip addr add 203.0.113.77/24 dev eth0 && ip addr add 198.51.100.7/32 dev lo")
    c.host.shell("ip route add 198.51.100.7 via 203.0.113.77 || ip route add 198.51.100.7 dev eth0")
    second = drive(c.host, c, d, "--hosts-a", c.host.v4, "--hosts-b", "203.0.113.77", "--letters", "gH")
    check(second.last("selected", "A"), second.text)
    lone = drive(c.host, c, d, "--hosts-a", "192.0.2.99", "--hosts-b", "198.51.100.7", "--letters", "iJ")
    check(lone.pair("A")[3] == f"198.51.100.7:{PORT}", lone.text)

    # Nothing there: FAILED, and the agent is still there and succeeds when a candidate comes.
    dead = drive(a.host, a, b, "--hosts-a", "2001:db8:203::99", "--hosts-b", "2001:db8:203::98",
                 "--letters", "kL", "--wait", "failed", "--timeout", "12")
    check(dead.last("failed", "A") is not None, dead.text)


lab_module.run(main)
