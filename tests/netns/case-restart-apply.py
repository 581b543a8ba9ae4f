#!/usr/bin/env python3
"""netbird-wg killed at any point of a change of 4096 peers: the next one converges to the file, and what
is not ours (a peer that an administrator added, another interface) is left alone."""

import base64
import json
import os
import random
import time

from restarts import check, find_program, lab_module, wait_for

PEERS = 4096
KILLS = 12


def key(number):
    return base64.b64encode(b"\1" + number.to_bytes(31, "big")).decode()


def write(directory, name, content):
    path = os.path.join(directory, name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.rename(path + ".new", path)


def peers(generation):
    """Every generation has other endpoints, every second one also other members."""
    first = 512 * (generation % 2)
    return {"generation": generation, "peers": sorted((
        {"id": str(n), "publicKey": key(n), "endpoint": f"192.0.2.{1 + generation}:{1024 + n}",
         "allowedIPs": [f"100.64.{n >> 8}.{n & 255}/32"], "keepalive": 0}
        for n in range(first, first + PEERS)), key=lambda peer: peer["publicKey"])}


def actual(host):
    """{key: endpoint} of WireGuard."""
    return dict(line.split("\t") for line in host.run(["wg", "show", "nbh0", "endpoints"]).stdout.splitlines())


def main(lab):
    host = lab.public("a")
    directory = lab.dir("config")
    foreign = key(1 << 40)
    write(directory, "device.json", {"interface": "nbh0", "addresses": ["100.64.0.1/10"], "mtu": 1280,
                                     "listenPort": 51820, "fwmark": 0, "userspace": True})
    with open(os.path.join(directory, "private.key"), "w", encoding="ascii") as file:
        file.write(host.run(["wg", "genkey"]).stdout)
    os.chmod(os.path.join(directory, "private.key"), 0o600)
    host.shell("ip tuntap add other0 mode tun && ip addr add 198.51.100.1/24 dev other0")
    other = host.run(["ip", "-d", "addr", "show", "dev", "other0"]).stdout
    argv = [find_program("netbird-wg"), "--config-dir", directory]
    wg = host.start("wg", argv)
    wait_for(lambda: host.run(["wg", "show", "nbh0"], ok=False).returncode == 0, 10, "nbh0", watch=[wg])
    host.run(["wg", "set", "nbh0", "peer", foreign, "endpoint", "192.0.2.200:7"])
    random.seed(4096)
    began = time.monotonic()
    for generation in range(KILLS):
        write(directory, "peers.json", peers(generation))
        time.sleep(random.uniform(0, 0.4))  # the moment of the kill is what is tested
        wg.popen.kill()
        wg.popen.wait()
        # nsenter's exec leaves one process: it is netbird-wg itself.
        wg = host.start("wg", argv)
    wanted = {peer["publicKey"]: peer["endpoint"] for peer in peers(KILLS - 1)["peers"]}
    wanted[foreign] = "192.0.2.200:7"
    wait_for(lambda: actual(host) == wanted, 15, "converged", interval=0.2, watch=[wg])
    print(f"{KILLS} kills, converged to {PEERS} peers {time.monotonic() - began:.1f} s after the first change")
    check(host.run(["ip", "-d", "addr", "show", "dev", "other0"]).stdout == other, "another interface was touched")
    status = lab_module.read_json(os.path.join(directory, "wg", "status.json"))
    check(not status.get("error"), f"wg/status.json: {status.get('error')}")


lab_module.run(main)
