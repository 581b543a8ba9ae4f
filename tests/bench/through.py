"""Row "iperf": a tunnel that helpers made, and the same made by hand, measured in turns."""

import json
import time

from ends import kill_helper, kill_in, say
from lab import check, wait_for
from programs import INTERFACE, PORT, Helper, Hub, have_wireguard_module, overlay_ping, ticks_of

MTU = 1280
SETTLE_SECONDS = 8  # libnice's last timers
HAND = ("100.64.99.1", "100.64.99.2")


def by_hand(lab):
    """Two hosts behind NATs like the helpers'; each is given the other's public address."""
    hosts = [lab.nat(f"hand-nat-{x}").host(f"hand-{x}") for x in "ab"]
    keys = []
    for host in hosts:
        private = host.run(["wg", "genkey"]).stdout
        keys.append((private, host.run(["wg", "pubkey"], stdin=private).stdout.strip()))
    for i, host in enumerate(hosts):
        if have_wireguard_module():
            host.shell(f"ip link add {INTERFACE} type wireguard")
        else:
            host.run(["wireguard-go", INTERFACE])
        host.run(["wg", "set", INTERFACE, "listen-port", PORT, "private-key", "/dev/stdin", "peer", keys[1 - i][1],
                  "endpoint", f"{hosts[1 - i].public_v4}:{PORT}", "allowed-ips", f"{HAND[1 - i]}/32",
                  "persistent-keepalive", 25], stdin=keys[i][0])
        host.shell(f"ip addr add {HAND[i]}/16 dev {INTERFACE} && ip link set mtu {MTU} up dev {INTERFACE}")
    overlay_ping(hosts[0], HAND[1])
    return hosts


def rate(host, far, address, seconds):
    """Mbit/s from host to far."""
    server = far.start("iperf3-server", ["iperf3", "-s", "-1", "--forceflush", "-B", address])
    listens = "Server listening"
    wait_for(lambda: server.log().count(listens) > far_runs(far), 5, "iperf3 listens", watch=[server])
    far.n_iperf = far_runs(far) + 1
    done = host.run(["iperf3", "-c", address, "-t", seconds, "--json"], seconds=seconds + 20)
    server.wait(10)
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e6


def far_runs(host):
    return getattr(host, "n_iperf", 0)


def measure(lab, args, results):
    hub = Hub(lab.public("iperf-hub"))
    key = hub.key("--reusable")
    helpers = [Helper(lab.nat(f"iperf-nat-{x}").host(f"iperf-{x}")).start(hub.url, key) for x in "ab"]
    a, b = helpers
    address = b.overlay()
    a.overlay()
    a.wait_direct(b.public_key())
    b.wait_direct(a.public_key())
    overlay_ping(a.host, address)
    hands = by_hand(lab)
    time.sleep(0 if args.quick else SETTLE_SECONDS)
    seconds, ratios, rates = (2 if args.quick else 5), [], []
    for number in range(max(args.rounds, 1 if args.quick else 3)):
        say(f"iperf, round {number + 1}")
        pids = [pid for helper in helpers for pid in helper.pids()]
        before = sum(ticks_of(pid) for pid in pids)
        with_helper = rate(a.host, b.host, address, seconds)
        used = sum(ticks_of(pid) for pid in pids) - before
        without = rate(hands[0], hands[1], HAND[1], seconds)
        check(with_helper > 1 and without > 1, f"iperf3: {with_helper:.1f} and {without:.1f} Mbit/s")
        ratios.append(with_helper / without)
        rates.append((with_helper, without))
        results.add("iperf-ratio", ratios[-1])
        results.add("iperf-ticks", used * 10 / seconds / len(helpers))
    results.note("iperf3 with helper / by hand: " + ", ".join(f"{x:.0f}/{y:.0f}" for x, y in rates) + " Mbit/s.")
    for helper in helpers:
        kill_helper(helper)
    for host in hands:
        kill_in(host)
    hub.proc.stop()
