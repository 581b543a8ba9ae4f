#!/usr/bin/env python3
"""After a reboot without DNS: the servers' names cannot be resolved, and all is as before.

The hub is known by name alone, with TLS, so the certificate is checked against the name whatever the
address comes from. Once the name server does not answer, once it refuses at once."""

import os

from restarts import (Helper, Hub, check, kill, lab_module, overlay_ping, wait_connected, wait_for)

NAME = "hub.lab"
SILENT = "203.0.113.250"  # nobody there
REFUSING = "127.0.0.1"


def set_names(host, name_server, address=None):
    """What this host's resolver has: /etc/hosts with or without the hub, and a name server."""
    host.private_etc()
    host.run(["tee", "/etc/hosts"], stdin=f"127.0.0.1 localhost\n{f'{address} {NAME}' if address else ''}\n")
    host.run(["sh", "-c", f"rm -f /etc/resolv.conf && echo nameserver {name_server} >/etc/resolv.conf"])
    found = host.run(["timeout", "8", "getent", "ahostsv4", NAME], ok=False).returncode == 0
    check(found == bool(address), f"{NAME} {'resolves' if found else 'does not resolve'}")


def remembered(helper):
    path = os.path.join(helper.dir, "netmap.cache")
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        return f"address {NAME} ".encode() in file.read()


def reboot(helper):
    """Nothing of it is left but files."""
    helper.proc.signal(9)
    helper.proc.wait(5)
    for program in ("netbird-helper", "netbird-ice", "netbird-wg"):
        kill(helper, program)
    os.unlink(os.path.join(helper.dir, "status.json"))  # it would still say what was
    helper.host.run(["ip", "link", "del", "nbh0"])
    wait_for(lambda: not os.path.exists(f"/proc/{helper.host.pid}/root/run/wireguard/nbh0.sock"), 10,
             "wireguard-go is gone, too")


def start_again(a, b, what):
    reboot(a)
    a.start()
    wait_connected(a, 30)
    log = a.proc.log()
    check(f"name-not-resolved name={NAME}" in log, "the name was resolved")
    check("management-up" in log and "signal-up" in log, "not both servers are connected")
    overlay_ping(a.host, b.overlay())
    a.wait_direct(b.key)
    wait_for(lambda: any(r["available"] for r in a.status()["relays"]["details"]), 20,
             "the STUN server has answered", watch=[a.proc])
    print(f"{what}: all is back")


def main(lab):
    hub = Hub(lab.public("hub"), address=NAME, tls=True)
    key = hub.key("--reusable")
    hosts = [lab.nat(f"nat-{x}").host(x) for x in "ab"]
    for host in hosts:
        set_names(host, REFUSING, hub.host.v4)
    env = {"SSL_CERT_FILE": hub.certificates.ca}
    a, b = [Helper(host).start(hub.url, key, **env) for host in hosts]
    a.overlay(), b.overlay()
    a.key, b.key = a.public_key(), b.public_key()
    a.wait_direct(b.key)
    wait_for(lambda: remembered(a), 10, "netmap.cache has the address", watch=[a.proc])

    set_names(a.host, REFUSING)
    start_again(a, b, "a name server that refuses")
    set_names(a.host, SILENT)
    start_again(a, b, "a silent name server")

    # Sync and signal carry what is new.
    host = lab.public("c")
    set_names(host, REFUSING, hub.host.v4)
    c = Helper(host).start(hub.url, key, **env)
    c.overlay()
    a.wait_direct(c.public_key())
    overlay_ping(a.host, c.overlay())


lab_module.run(main)
