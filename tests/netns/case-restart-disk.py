#!/usr/bin/env python3
"""A full disk, a directory that nobody may write: tunnels stay, killed programs start all the same,
status says what is wrong, and it heals by itself."""

import os

from restarts import (PROGRAMS, Helper, Hub, Pings, check, connect, kill, lab_module, overlay_ping,
                      programs_running, wait_connected, wait_for)

HEAL_SECONDS = 15


def join(hub, name, a):
    """A peer that is new: a has to publish it."""
    peer = Helper(hub.host.lab.public(name)).start(hub.url, hub.key("--reusable"))
    peer.overlay()
    peer.key = peer.public_key()
    wait_for(lambda: peer.peer(a.key), 10, f"{name} sees a")
    return peer


def healed(a, peer, pings, event):
    wait_for(lambda: programs_running(a), HEAL_SECONDS, f"{event}: all three run", watch=[a.proc])
    a.wait_direct(peer.key, HEAL_SECONDS)
    wait_connected(a)
    overlay_ping(peer.host, a.overlay())
    text = a.command("status").stdout
    check("warning" not in text.lower(), f"{event}: status after it healed: {text}")
    pings.check_none_lost(event)


def says(a, words, event):
    wait_for(lambda: words in a.command("status", ok=False).stdout.lower(), 10, f"{event}: status says '{words}'")


def full_disk(hub, a, pings):
    path = os.path.join(a.dir, "filler")
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    peer = join(hub, "joins-full", a)
    says(a, "full", "full disk")
    for program in PROGRAMS:
        kill(a, program)
    wait_for(lambda: programs_running(a), 10, "full disk: all three start", watch=[a.proc])
    pings.check_none_lost("full disk, all killed")
    os.unlink(path)
    healed(a, peer, pings, "full disk")


def read_only(hub, a, pings):
    """For its users, who own nothing else; root could write."""
    dirs = {path: os.stat(path).st_mode for path in
            (a.dir, os.path.join(a.dir, "wg"), os.path.join(a.dir, "ice"))}
    for path in dirs:
        os.chmod(path, 0o555)
    peer = join(hub, "joins-read-only", a)
    says(a, "read-only", "read-only")
    for program in PROGRAMS:
        kill(a, program)
    pings.check_none_lost("read-only, all killed")
    for path, mode in dirs.items():
        os.chmod(path, mode)
    healed(a, peer, pings, "read-only")


def main(lab):
    # Before there are hosts: they take the mounts along.
    path = lab.dir("a-helper")
    os.system(f"mount -t tmpfs -o size=400k,mode=755 none {path}")
    hub = Hub(lab.public("hub"))
    a, b = connect(hub, lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b"))
    overlay_ping(a.host, b.overlay())
    pings = Pings(b.host, a.overlay())
    full_disk(hub, a, pings)
    read_only(hub, a, pings)
    pings.done()


lab_module.run(main)
