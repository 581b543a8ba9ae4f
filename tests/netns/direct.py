"""What every topology has to show: a direct path at the predicted endpoints, no loss, no cost.

A case builds its hosts and a hub and calls connect_and_check(). The predictions are what the
far end must be reached at: an "address:port", or "address:*" where the NAT draws the port.
"""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

import lab as lab_module  # noqa: E402
from lab import Failed, check, wait_for  # noqa: E402
from programs import (PORT, Helper, Hub, OfficialClient, bracketed, http,  # noqa: E402
                      overlay_ping, place, read_json)

__all__ = ["PORT", "Failed", "Helper", "Hub", "OfficialClient", "bracketed", "check", "connect",
           "connect_and_check", "http", "lab_module", "overlay_ping", "place", "read_json",
           "wait_for"]

TRAFFIC_SECONDS = 5
TICKS_MAX = 2


def matches(endpoint, predicted):
    if predicted.endswith(":*"):
        return endpoint.rsplit(":", 1)[0] == predicted[:-2] and not endpoint.endswith(f":{PORT}")
    return endpoint == predicted


def connect(hub, host_a, host_b, wraps=([], []), **extra):
    """Starts a helper on both hosts and waits until each has a direct endpoint of the other."""
    key = hub.key("--reusable")
    a, b = Helper(host_a), Helper(host_b)
    a.wrap, b.wrap = wraps
    a.start(hub.url, key, **extra)
    b.start(hub.url, key, **extra)
    a.overlay(), b.overlay()
    a.key, b.key = a.public_key(), b.public_key()
    wait_for(lambda: a.peer(b.key) and b.peer(a.key), 15, "both see each other in peers.json",
             watch=[a.proc, b.proc])
    a.wait_direct(b.key)
    b.wait_direct(a.key)
    return a, b


def check_cost_under_load(a, b):
    """While iperf3 runs through the tunnel, the programs beside WireGuard do next to nothing."""
    address = b.overlay()
    server = b.host.start("iperf3-server", ["iperf3", "-s", "-1", "--forceflush", "-B", address])
    wait_for(lambda: "Server listening" in server.log(), 5, "iperf3 listens", watch=[server])
    client = a.host.start("iperf3-client", ["iperf3", "-c", address, "-B", a.overlay(),
                                            "-t", TRAFFIC_SECONDS + 3, "--json"])
    before_bytes = wg_bytes(a, b.key)
    wait_for(lambda: wg_bytes(a, b.key) > before_bytes + 1000000, 10, "iperf3 traffic flows",
             watch=[client])
    before = a.ticks(), b.ticks()
    time.sleep(TRAFFIC_SECONDS)  # the measurement itself, not a wait for something
    used = a.ticks() - before[0], b.ticks() - before[1]
    check(client.wait(TRAFFIC_SECONDS + 15) == 0, f"iperf3 failed: {client.log()}")
    rate = json.loads(client.log())["end"]["sum_received"]["bits_per_second"]
    print(f"iperf3 {rate / 1e6:.0f} Mbit/s; ticks of helper and ice in {TRAFFIC_SECONDS} s: "
          f"{used[0]} and {used[1]}")
    check(rate > 10e6, f"iperf3: {rate / 1e6:.1f} Mbit/s")
    check(max(used) <= TICKS_MAX,
          f"helper and ice used {used} ticks in {TRAFFIC_SECONDS} s under load, not <= {TICKS_MAX}")


def wg_bytes(helper, key):
    done = helper.host.run(["wg", "show", "nbh0", "transfer"])
    for line in done.stdout.splitlines():
        peer, received, sent = line.split()
        if peer == key:
            return int(received) + int(sent)
    return 0


def connect_and_check(hub, host_a, host_b, b_seen_by_a, a_seen_by_b, **extra):
    a, b = connect(hub, host_a, host_b, **extra)
    overlay_ping(host_a, b.overlay(), count=10)
    overlay_ping(host_b, a.overlay(), count=5)
    # Aggressive nomination may pick a twin first; what counts is what stays.
    for here, there, predicted in ((a, b, b_seen_by_a), (b, a, a_seen_by_b)):
        wait_for(lambda: matches(here.direct_endpoint(there.key) or "", predicted), 3,
                 f"{here.host.name}: endpoint {predicted} (it is {here.endpoint(there.key)})")
        print(f"{here.host.name} reaches {there.host.name} at {here.endpoint(there.key)}")
    check_cost_under_load(a, b)
    check(a.direct_endpoint(b.key) and b.direct_endpoint(a.key), "the direct path did not stay")
    for helper in (a, b):
        check(helper.proc.poll() is None, f"{helper.proc.name} ended")
    return a, b
