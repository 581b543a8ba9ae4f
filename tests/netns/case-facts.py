#!/usr/bin/env python3
"""What a host says about itself follows it: host name and addresses reach the hub by SyncMeta, once
per change and not more than once in 30 s; what changes nothing says nothing. The name in the network
stays that of the registration."""

import json
import time

from direct import Hub, check, lab_module, wait_for
from programs import NamedHelper

INTERVAL_SECONDS = 30


def shown(hub):
    """What the hub knows of its only peer."""
    return json.loads(hub.command("peer", "list", "--json").stdout)[0]


def main(lab):
    hub = Hub(lab.public("hub"))
    host = lab.public("one")
    helper = NamedHelper(host, "first-name").start(hub.url, hub.key(), NB_HOSTNAME="")
    helper.overlay()
    own = [f"{host.v4}/24"]
    peer = wait_for(lambda: (lambda p: p["connected"] and p)(shown(hub)), 15, "the peer is connected",
                    watch=[helper.proc])
    check(peer["hostname"] == peer["label"] == "first-name", f"registered as {peer}")
    check(peer["localAddresses"] == own, f"addresses at the start: {peer['localAddresses']}")

    # Links and addresses that are none of those that are reported.
    host.shell("ip link add other type veth peer name another && ip link set other up && ip link del other && "
               "ip addr add 127.0.0.9/8 dev lo")
    helper.rename("second-name")
    peer = wait_for(lambda: (lambda p: p["hostname"] == "second-name" and p)(shown(hub)), 10,
                    "the hub shows the new host name", watch=[helper.proc])
    check(peer["label"] == "first-name", f"the name in the network has changed to {peer['label']}")
    check(helper.told() == 1, f"SyncMeta {helper.told()} times for one change")

    # A flapping address: one SyncMeta for all, when the interval is over, with the last state.
    began = time.monotonic()
    for n in range(20):
        word = "add" if n % 2 == 0 else "del"
        host.run(["ip", "addr", word, "192.0.2.77/25", "dev", "eth0"])
    host.run(["ip", "addr", "add", "192.0.2.78/25", "dev", "eth0"])
    wanted = sorted(own + ["192.0.2.78/25"])
    wait_for(lambda: sorted(shown(hub)["localAddresses"]) == wanted, INTERVAL_SECONDS + 10,
             "the hub shows the new address", interval=0.2, watch=[helper.proc])
    print(f"the addresses were told after {time.monotonic() - began:.1f} s")
    check(helper.told() == 2, f"SyncMeta {helper.told()} times for two changes")

    # The next start: Sync brings it.
    helper.rename("third-name")
    helper.stop()
    helper.start()
    wait_for(lambda: shown(hub)["hostname"] == "first-name", 15, "the name of the new start",
             watch=[helper.proc])


lab_module.run(main)
