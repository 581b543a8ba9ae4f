#!/usr/bin/env python3
"""login, up, status, down, up again, SIGTERM, logout: what each leaves behind."""

import json
import os

from direct import Hub, check, connect, lab_module, overlay_ping, wait_for


def interface_exists(helper):
    return helper.host.run(["ip", "link", "show", "nbh0"], ok=False).returncode == 0


def main(lab):
    hub = Hub(lab.public("hub"))
    a, b = connect(hub, lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b"))
    overlay_ping(a.host, b.overlay())
    address, key = a.overlay(), a.public_key()

    status = json.loads(a.command("status", "--json").stdout)
    check(status["netbirdIp"].split("/")[0] == address, f"status --json: {status.get('netbirdIp')}")
    check(status["publicKey"] == key, "status --json: publicKey")
    text = a.command("status", "--detail").stdout
    check(b.overlay() in text, f"status --detail does not name the peer: {text}")

    # SIGTERM ends the programs and leaves the tunnel.
    check(a.stop() == 0, "SIGTERM: status 0")
    wait_for(lambda: not a.pids(), 5, "SIGTERM: every program has ended")
    check(a.host.ping(b.overlay(), 5) == 5, "SIGTERM: the tunnel goes on")

    # Started again: the same identity, the same address, no setup key needed.
    a.env.pop("NB_SETUP_KEY_FILE")
    a.start()
    wait_for(lambda: (a.status() or {}).get("management", {}).get("connected"), 15,
             "connected again without a setup key", watch=[a.proc])
    check((a.overlay(), a.public_key()) == (address, key), "another identity after a restart")
    overlay_ping(a.host, b.overlay())

    # down removes the interface until `up`, also over a restart; the identity stays.
    a.command("down")
    wait_for(lambda: not interface_exists(a), 10, "down: the interface is gone")
    check(os.path.exists(os.path.join(a.dir, "private.key")), "down: private.key stays")
    a.stop()
    a.start()
    wait_for(lambda: "netbird-helper up" in a.proc.log().split("stopping")[-1], 10,
             "started while down, it says so", watch=[a.proc])
    check(not interface_exists(a), "down: a restart brought the interface back")
    a.command("up")
    overlay_ping(a.host, b.overlay())
    check(a.public_key() == key, "another key after down and up")

    # logout deregisters: the other side forgets us.
    a.command("logout")
    wait_for(lambda: b.peer(key) is None, 15, "logout: the peer is gone from the other's peers.json")


lab_module.run(main)
