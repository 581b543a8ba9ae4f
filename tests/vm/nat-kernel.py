#!/usr/bin/env python3
"""The main job over the kernel's WireGuard: two hosts behind port-restricted NATs of their own.

The namespace case with the same topology also measures CPU time; an emulated CPU has no say in that.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "netns"))

from direct import Hub, check, connect, lab_module, overlay_ping, place, read_json  # noqa: E402


def main(lab):
    hub = Hub(lab.public("hub"))
    host_a, host_b = lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b")
    a, b = connect(hub, host_a, host_b)
    for mine, far, host, other in ((a, b, host_a, host_b), (b, a, host_b, host_a)):
        endpoint = mine.direct_endpoint(far.key)
        check(endpoint == place(other.public_v4), f"{host.name}: direct endpoint is {endpoint}")
        overlay_ping(host, far.overlay(), count=5)
        status = read_json(os.path.join(mine.dir, "wg", "status.json"))
        check(status["backend"] == "netlink", f"{host.name}: backend is {status['backend']}")


lab_module.run(main)
