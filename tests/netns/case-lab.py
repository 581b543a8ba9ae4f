#!/usr/bin/env python3
"""The lab itself: each kind of NAT and the firewall do what their names promise."""

import json
import os

from direct import check, lab_module, place, wait_for

MIRROR = os.path.join(os.path.dirname(os.path.realpath(__file__)), "mirror.py")


def ask(host, servers):
    done = host.run(["python3", MIRROR, "ask", *[server.v4 for server in servers]])
    return json.loads(done.stdout)


def main(lab):
    servers = [lab.public("s1"), lab.public("s2")]
    for server in servers:
        proc = server.start("mirror", ["python3", MIRROR, "serve"])
        wait_for(lambda: "listening" in proc.log(), 5, "the mirror listens", watch=[proc])

    # kind: are both servers shown the same port; is it ours; do strangers get in
    for kind, same, kept, open_to_all in (("port-restricted", True, True, False),
                                          ("symmetric", False, False, False),
                                          ("full-cone", True, True, True)):
        host = lab.nat(f"nat-{kind}", kind).host(kind)
        answer = ask(host, servers)
        print(f"{kind}: {answer}")
        one, two = answer["seen"]
        check((one == two) == same, f"{kind}: both servers see {one} and {two}")
        check((one == place(host.public_v4)) == kept, f"{kind}: port kept: {one}")
        check((answer["strangers"] > 0) == open_to_all, f"{kind}: {answer['strangers']} strangers")

    host = lab.public("open")
    check(ask(host, servers)["strangers"] == 2, "a public host is open")
    host.firewall()
    check(ask(host, servers)["strangers"] == 0, "a firewall drops strangers")
    check(servers[0].ping(host.v4, 1) == 0, "a firewall drops pings")

    # Interfaces are named eth0, and two hosts do not share /run/wireguard.
    names = host.run(["ls", "/sys/class/net"]).stdout.split()
    check(sorted(names) == ["eth0", "lo"], f"interfaces: {names}")
    host.shell("touch /run/wireguard/x")
    check(servers[0].run(["ls", "/run/wireguard"]).stdout == "", "/run/wireguard is shared")

    # A round trip to the servers can be made longer.
    far = lab.public("far", rtt_ms=40)
    done = servers[0].run(["ping", "-c", "3", "-i", "0.2", "-q", far.v4])
    average = float(done.stdout.rsplit("=", 1)[1].split("/")[1])
    check(38 < average < 60, f"delay of 40 ms: {average} ms")


lab_module.run(main)
