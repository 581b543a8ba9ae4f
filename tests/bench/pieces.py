"""Rows "ice" and "map": netbird-ice alone, and large network maps."""

import base64
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "netns"))

from ends import Watch, kill_helper, say  # noqa: E402
from iceport import PORT, Client, Node  # noqa: E402
from lab import check, clean_environment, wait_for  # noqa: E402
from programs import Helper, Hub, find_program  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
AGENTS = 50
PLAN_TIMES = 5


# ---- netbird-ice

def agent_ms(client):
    """The answer to LIST comes when all commands before it are done."""
    began = time.monotonic()
    for i in range(AGENTS):
        name = base64.b64encode(bytes([1]) + i.to_bytes(31, "big")).decode()
        client.say(f"OPEN {name} {i:016d} {i:032d} - controlling 0 off")
    client.say("LIST")
    seen = 0
    while True:
        line = client.read()
        if line == "END":
            break
        seen += line.startswith("SESSION ")
    took = (time.monotonic() - began) * 1000
    check(seen == AGENTS, f"{seen} of {AGENTS} agents")
    client.say("CLOSE_ALL")
    return took / AGENTS


def gather_ms(node, hub):
    """From the start of the program."""
    began = time.monotonic()
    node.start()
    client = Client(node)
    client.say(f"STUN {hub.address}:{hub.stun}")
    client.expect(f"MAPPED {hub.address}:{hub.stun} {node.host.public_v4}:{PORT}")
    return (time.monotonic() - began) * 1000, client


def measure_ice(lab, args, results):
    hub = Hub(lab.public("ice-hub", rtt_ms=40))
    for number in range(args.rounds):
        say(f"ice, round {number + 1} of {args.rounds}")
        node = Node(lab, lab.nat(f"ice-nat{number}").host(f"ice{number}"), f"ice{number}")
        took, client = gather_ms(node, hub)
        results.add("gather", took)
        results.add("agent", agent_ms(client))
        node.ice.stop()
        node.wg.stop()
    hub.proc.stop()


# ---- network maps

class FullHub(Hub):
    """A hub in whose database many machines are registered, which are all switched off."""

    def __init__(self, host, count):
        self.count, self.is_filled = count, False
        super().__init__(host)

    def start(self):
        if not self.is_filled:
            self.fill()
        super().start()

    def fill(self):
        self.is_filled = True
        self.host.run([self.program, "key", "create", "--config-dir", self.dir])  # makes hub.db
        database = sqlite3.connect(os.path.join(self.dir, "hub.db"))
        (network,) = database.execute("SELECT value FROM setting WHERE name = 'network'").fetchone()
        now = int(time.time())
        database.executemany(
            "INSERT INTO peer (key, name, label, ip, version, setup_key_id, created_s, last_login_s)"
            " VALUES (?, ?, ?, ?, '0.77.1', 1, ?, ?)",
            [(base64.b64encode(os.urandom(32)).decode(), f"machine-{i}", f"machine-{i}", network + 257 + i, now, now)
             for i in range(self.count)])
        database.commit()
        database.close()


def lines_of(proc):
    return [line.split() for line in proc.log().splitlines() if line.startswith("burst ")]


def message_to_file(hub, helper, count, sniffer):
    """ms from the last byte of the map to peers.json with all peers.

    The hub comes back when the helper has started and knows netbird-ice: else its start is measured.
    """
    path = os.path.join(helper.dir, "peers.json")
    known, n_ups = len(lines_of(sniffer)), helper.proc.log().count(" ice-up ") if helper.proc else 0
    hub.proc.stop()
    helper.start()
    wait_for(lambda: helper.proc.log().count(" ice-up ") > n_ups, 15, "netbird-ice is up", watch=[helper.proc])

    def is_full():
        try:
            return os.stat(path).st_size > count * 80
        except FileNotFoundError:
            return False
    written = Watch(is_full)
    hub.start()
    wait_for(lambda: written.at, 30, f"{count} peers in peers.json", watch=[helper.proc])
    check(len(helper.peers_json()["peers"]) == count, f"peers.json has not all {count} peers")
    wait_for(lambda: any(int(octets) > count * 40 for _, octets, _ in lines_of(sniffer)[known:]), 10,
             "the map on the wire", watch=[sniffer])
    arrived = [float(at) for _, octets, at in lines_of(sniffer)[known:] if int(octets) > count * 40]
    return (written.at - arrived[-1]) * 1000


def plan_ms(lab, helper, count):
    """A whole netbird-wg that reads the files and says what it would do."""
    work = lab.dir(f"plan-{count}")
    for name in ("device.json", "peers.json", "private.key"):
        shutil.copy(os.path.join(helper.dir, name), work)
        os.chmod(os.path.join(work, name), 0o600)
    argv = [find_program("netbird-wg"), "--config-dir", work, "--once", "--dry-run"]
    times = []
    for _ in range(PLAN_TIMES):
        began = time.monotonic()
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=clean_environment(), check=False)
        times.append((time.monotonic() - began) * 1000)
        planned = done.stdout.count("add peer ")
        check(planned == count, f"{planned} of {count} peers planned: {done.stderr[-300:]}")
    return statistics.median(times)


def map_of(lab, args, results, count, suffix):
    hub = FullHub(lab.public(f"map-hub-{count}"), count)
    host = lab.public(f"map-{count}")
    helper = Helper(host)
    helper.command("login", "--management-url", hub.url, "--setup-key-file",
                   helper.key_file(hub.key("--reusable")), "--hostname", host.name)
    helper.env = helper.environment(hub.url, None)
    sniffer = host.start("sniffer", [sys.executable, os.path.join(HERE, "lastbyte.py"), str(hub.port)])
    wait_for(lambda: "ready" in sniffer.log(), 10, "the sniffer listens", watch=[sniffer])
    json_times, plan_times = [], []
    for number in range(args.rounds):
        say(f"map of {count} peers, round {number + 1} of {args.rounds}")
        for name in ("netmap.cache", "peers.json", "device.json"):
            if os.path.exists(os.path.join(helper.dir, name)):
                os.unlink(os.path.join(helper.dir, name))
        json_times.append(message_to_file(hub, helper, count, sniffer))
        plan_times.append(plan_ms(lab, helper, count))
        helper.proc.signal(9)
        helper.proc.popen.wait()
        for pid in helper.pids():
            os.kill(pid, 9)
        host.run(["ip", "link", "delete", "nbh0"], ok=False)
        if not suffix:
            results.add("map-json", json_times[-1])
            results.add("map-plan", plan_times[-1])
    kill_helper(helper)
    hub.proc.stop()
    return statistics.median(json_times), statistics.median(plan_times)


def measure_map(lab, args, results):
    large = args.map
    times = {count: map_of(lab, args, results, count, count != large) for count in (large // 4, large // 2, large)}
    for i, key in enumerate(("map-json", "map-plan")):
        results.add(f"{key}-linear", times[large][i] / times[large // 4][i])
        results.note(f"{'Message to peers.json' if i == 0 else 'File to kernel plan'} of " + ", ".join(
            f"{count} peers: {both[i]:.0f} ms" for count, both in times.items()) + ".")
