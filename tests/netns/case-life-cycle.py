#!/usr/bin/env python3
"""login, up, status, down, up again, SIGTERM, logout: what each leaves behind, and exit codes."""

import json
import os
import signal

from direct import Hub, check, connect, lab_module, overlay_ping, wait_for


def interface_exists(helper):
    return helper.host.run(["ip", "link", "show", "nbh0"], ok=False).returncode == 0


def is_idle(helper):
    return (helper.status() or {}).get("daemonStatus") == "Idle"


def wait_connected(helper):
    wait_for(lambda: (helper.status() or {}).get("management", {}).get("connected"), 15,
             "connected to management", watch=[helper.proc])


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
    wait_for(lambda: not b.direct_endpoint(key), 5, "down: the other end is told (else it takes a minute)")
    a.stop()
    a.start()
    wait_for(lambda: "netbird-helper up" in a.proc.log().split("stopping")[-1], 10,
             "started while down, it says so", watch=[a.proc])
    check(not interface_exists(a), "down: a restart brought the interface back")
    a.command("up")
    overlay_ping(a.host, b.overlay())
    check(a.public_key() == key, "another key after down and up")

    # `up` as the launcher undoes down once: a later down survives the helper's restart.
    a.stop()
    a.proc = a.host.start("up", [a.program, "up", "--config-dir", a.dir], env=a.env)
    wait_connected(a)
    a.command("down")
    wait_for(lambda: not interface_exists(a), 10, "down below up: the interface is gone")
    old = set(a.pids("netbird-helper")) - {a.proc.pid}
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: set(a.pids("netbird-helper")) - old - {a.proc.pid} and is_idle(a), 10,
             "the helper that came back stays down", watch=[a.proc])
    check(not interface_exists(a), "down: the launcher's up brought the interface back")
    a.command("up")
    overlay_ping(a.host, b.overlay())

    # down when nothing runs: somebody has to take the interface away.
    a.stop()
    wait_for(lambda: not a.pids(), 5, "SIGTERM: every program has ended")
    check(interface_exists(a), "SIGTERM: the interface stays")
    a.command("down")
    check(not interface_exists(a), "down with nothing running left the interface")
    check(a.command("status", ok=False).returncode == 1, "status with nothing running: exit code 1")

    # A wrong option changes nothing that worked.
    done = a.command("login", "--management-url", "ftp://nowhere", ok=False)
    check(done.returncode == 78 and "managementUrl" in done.stderr, f"a bad URL: {done}")
    check(a.command("login").stdout.split()[1].split("/")[0] == address, "login again: same address")

    # logout deregisters: the other side forgets us. Twice is as good as once.
    a.proc = a.host.start("up-again", [a.program, "up", "--config-dir", a.dir], env=a.env)
    wait_connected(a)
    a.command("logout")
    a.stop()
    wait_for(lambda: b.peer(key) is None, 15, "logout: the peer is gone from the other's peers.json")
    a.command("logout")
    check(not os.path.exists(os.path.join(a.dir, "netmap.cache")), "logout left the old map")
    check(a.command("login", ok=False).returncode == 69, "login without a key after logout: 69")


lab_module.run(main)
