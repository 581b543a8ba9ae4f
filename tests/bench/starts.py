"""Rows "start" and "direct": from the start of the daemons to the first ping and the direct path.

Every round starts on fresh hosts behind fresh port-restricted NATs, registered beforehand, so that a
start is what it is after a reboot. "Direct" is when both ends have the far end's own address as
WireGuard endpoint. An official client that sleeps until there is traffic is as good as a running one.
"""

import os
import re
import statistics
import time

from ends import POLL_SECONDS, HelperEnd, OfficialEnd, kill_in, say
from lab import Failed, wait_for
from programs import Hub, OfficialServer, have_wireguard_module

PINGER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib", "pinger.py")


def measure_start(one, two, late=False):
    """Starts both daemons at once, or `one` beside a running `two`: (ms to the ping, ms to direct)."""
    if late:
        two.start()
        two.wait_running()
    ping = one.host.start("pinger", ["python3", PINGER, two.address])
    earlier = len(re.findall("answered", ping.log()))
    wait_for(lambda: ping.log().count("ready") > earlier, 5, "pinger starts")
    one.watch_direct(two)
    two.watch_direct(one)
    began = time.monotonic()
    one.start()
    if not late:
        two.start()
    wait_for(lambda: len(re.findall(r"answered [\d.]+\n", ping.log())) > earlier, 40, "first ping",
             interval=POLL_SECONDS)
    answered = float(re.findall(r"answered ([\d.]+)", ping.log())[-1])
    wait_for(lambda: one.direct_at() and two.direct_at(), 40, "direct path on both sides",
             interval=POLL_SECONDS)
    direct = max(one.direct_at(), two.direct_at())
    return (answered - began) * 1000, (direct - began) * 1000


def hub_addresses(hub):
    """{public key: overlay address} as the hub lists them."""
    found = {}
    for line in hub.command("peer", "list").stdout.splitlines():
        key = re.search(r"[A-Za-z0-9+/]{43}=", line)
        address = re.search(r"\b100\.\d+\.\d+\.\d+", line)
        if key and address:
            found[key[0]] = address[0]
    return found


class Starts:
    def __init__(self, lab, args, results):
        self.lab, self.args, self.results = lab, args, results
        self.servers = {}
        self.n = 0

    def hosts(self):
        self.n += 1
        return [self.lab.nat(f"r{self.n}-nat-{x}").host(f"r{self.n}-{x}") for x in "ab"]

    def official_server(self, delay):
        """(server, setup key of two machines that see each other alone)"""
        if delay not in self.servers:
            host = self.lab.public(f"official{delay}", rtt_ms=delay)
            self.servers[delay] = OfficialServer(host, self.args.server)
            self.servers[delay].isolate()
        return self.servers[delay], self.servers[delay].room(f"room{self.n}")

    def helpers(self, delay, late):
        hosts = self.hosts()
        hub = Hub(self.lab.public(f"control{self.n}", rtt_ms=delay))
        key = hub.key("--reusable")
        ends = [HelperEnd(host, hub.url, key) for host in hosts]
        addresses = hub_addresses(hub)
        for end in ends:
            end.address = addresses[end.key]
        try:
            ping, direct = measure_start(*ends, late)
            if late:
                self.results.add("direct-late", direct)
                return
            self.results.add(f"start-{delay}", ping)
            if not delay:
                self.results.add("direct-both", direct)
            self.cached(ends, delay)
        finally:
            for end in ends:
                end.stop()
            hub.proc.stop()

    def cached(self, ends, delay):
        """Both hosts lose their power; what is kept is the config directory."""
        for end, other in (ends, ends[::-1]):
            wait_for(lambda e=end, o=other: e.helper.direct_endpoint(o.key) and os.path.exists(
                os.path.join(e.helper.dir, "netmap.cache")), 10, "endpoint and map are kept", interval=0.1)
        for end in ends:
            end.stop()
        ping, _ = measure_start(*ends)
        self.results.add(f"cached-{delay}", ping)

    def with_official(self, key_name, greater):
        hosts = self.hosts()
        server, key = self.official_server(0)
        official = OfficialEnd(hosts[1], self.args.netbird, server.url, key)
        helper = HelperEnd(hosts[0], server.url, key, official.key, greater)
        try:
            self.results.add(key_name, measure_start(helper, official, late=True)[1])
        finally:
            helper.stop()
            official.stop()

    def officials(self, delay, late):
        hosts = self.hosts()
        server, key = self.official_server(delay)
        ends = [OfficialEnd(host, self.args.netbird, server.url, key) for host in hosts]
        try:
            ping, direct = measure_start(*ends, late)
        finally:
            for end in ends:
                end.stop()
        if late:
            for name in ("direct-late", "direct-controlling", "direct-controlled"):
                self.results.add_official(name, direct)
            return
        # It keeps no map: a second start is like the first.
        self.results.add_official(f"start-{delay}", ping)
        self.results.add_official(f"cached-{delay}", ping)
        if not delay:
            self.results.add_official("direct-both", direct)

    def plan(self):
        """[(what, function)] of one round."""
        wants_start, wants_direct = "start" in self.args.only, "direct" in self.args.only
        delays = ([0] if self.args.quick else [0, 40]) if wants_start else [0]
        plan = [(f"two helpers, {delay} ms", lambda d=delay: self.helpers(d, False)) for delay in delays]
        if wants_direct:
            plan.append(("helper beside a running helper", lambda: self.helpers(0, True)))
        if not self.args.netbird:
            return plan
        plan += [(f"two official, {delay} ms", lambda d=delay: self.officials(d, False)) for delay in delays]
        if wants_direct:
            plan += [("helper controls official", lambda: self.with_official("direct-controlling", True)),
                     ("official controls helper", lambda: self.with_official("direct-controlled", False)),
                     ("official beside a running official", lambda: self.officials(0, True))]
        return plan


def wireguard_go_ms(lab):
    """What a start without a kernel module costs before any of our programs can do something."""
    host, times = lab.public("go"), []
    for _ in range(5):
        began = time.monotonic()
        host.run(["wireguard-go", "go0"])
        times.append((time.monotonic() - began) * 1000)
        kill_in(host)
        wait_for(lambda: host.run(["ip", "link", "show", "go0"], ok=False).returncode, 5, "go0 is gone")
    return statistics.median(times)


def measure(lab, args, results):
    if not have_wireguard_module():
        results.note(f"wireguard-go alone takes {wireguard_go_ms(lab):.0f} ms to start; each start waits for it.")
    starts = Starts(lab, args, results)
    for number in range(args.rounds):
        for what, function in starts.plan():
            say(f"start, round {number + 1} of {args.rounds}: {what}")
            try:
                function()
            except Failed as failure:
                # Official clients alone miss each other once in a while, too: say so, go on.
                say(f"{what}: {failure}")
                results.trouble(f"start, round {number + 1}, {what}: {failure}")
    for server in starts.servers.values():
        server.proc.stop()
