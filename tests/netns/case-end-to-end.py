#!/usr/bin/env python3
"""The end-to-end test of the original specification, with its own commands:

    netbird-helper --config-dir peer1 &     on the first host
    netbird-helper --config-dir peer2 &     on the second host
    jq '.peers[0].endpoint' peer1/peers.json    gives the other's public address and port
    ping -c 3 (the other's overlay address)     succeeds
"""

import os

from direct import Helper, Hub, check, lab_module, place, wait_for


def jq(host, program, path):
    done = host.run(["jq", "-r", program, path], ok=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def main(lab):
    hub = Hub(lab.public("hub"))
    key = hub.key("--reusable")
    hosts = [lab.nat("nat1").host("host1"), lab.nat("nat2").host("host2")]
    work = lab.dir("work")
    for number, host in enumerate(hosts, 1):
        helper = Helper(host, name=f"peer{number}")
        host.start("helper", [helper.program, "--config-dir", f"peer{number}"], cwd=work,
                   env=helper.environment(hub.url, key))
    peers = os.path.join(work, "peer1", "peers.json")
    predicted = place(hosts[1].public_v4)
    wait_for(lambda: jq(hosts[0], ".peers[0].endpoint", peers) == predicted, 30,
             f"peer1/peers.json: .peers[0].endpoint is {predicted}", interval=0.1)
    device = os.path.join(work, "peer2", "device.json")
    address = jq(hosts[1], ".addresses[0]", device).split("/")[0]
    wait_for(lambda: hosts[0].ping(address, 1) == 1, 15, "the first ping is answered")
    done = hosts[0].run(["ping", "-c", "3", address])
    check("3 received" in done.stdout, f"ping: {done.stdout}")
    print(done.stdout.strip().splitlines()[-2])


lab_module.run(main)
