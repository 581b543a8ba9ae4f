#!/usr/bin/env python3
"""netbird-ice behind symmetric NATs: with a public far end, and where no path can exist."""

from iceport import Node, PORT, drive_hosts, lab_module, tool
from lab import check

STUN_PORT = 3478


def main(lab):
    server = lab.public("stun")
    server.start("stun", [tool("stun-standin"), f"{server.v4}:{STUN_PORT}"])
    nat_a, nat_b = lab.nat("na", "symmetric"), lab.nat("nb", "symmetric")
    a, b = Node(lab, nat_a.host("a"), "a"), Node(lab, nat_b.host("b"), "b")
    c = Node(lab, lab.public("c"), "c")
    for node in (a, b, c):
        node.start()
    stun = ["--stun", f"{server.v4}:{STUN_PORT}"]

    for flags in ([], ["--a-controlled"]):
        result = drive_hosts(a, c, *stun, *flags)
        seen_by_b, seen_by_a = result.pair("B"), result.pair("A")
        check(seen_by_a[2:] == ["host", f"{c.host.v4}:{PORT}"], result.text)
        address, port = seen_by_b[3].rsplit(":", 1)
        check(seen_by_b[2] == "prflx" and address == nat_a.public_v4, result.text)
        check(seen_by_a[:2] == ["prflx", seen_by_b[3]], f"A knows what B sees: {result.text}")
        mapped = result.last("mapped", "A")[0]
        check(mapped != seen_by_b[3], f"that is not a symmetric NAT: {result.text}")
        check(a.ping(f"{c.host.v4}:{PORT}") == 5, "the path carries WireGuard's packets")
        check(c.ping(f"{address}:{port}") == 5, "and back")

    none = drive_hosts(a, b, *stun, "--letters", "sT", "--wait", "failed", "--timeout", "12")
    check(none.last("selected", "A") is None, none.text)


lab_module.run(main)
