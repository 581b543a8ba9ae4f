"""What the case-restart-* have in common: pings that run all the time, and killing by name."""

import os
import re
import signal
import sys
import time

from direct import (Failed, Helper, Hub, check, connect, lab_module, overlay_ping, read_json,
                    wait_for)
from programs import find_program

__all__ = ["Failed", "Growth", "Helper", "Hub", "Pings", "burst", "check", "connect", "daemon_pids", "find_program", "kill", "lab_module",
           "overlay_ping", "pair_behind_nats", "programs_away", "programs_pids", "read_json", "replaced", "rss_anon_kb", "servers_away",
           "signal", "time", "wait_connected", "wait_for", "PROGRAMS"]

LIB = os.path.dirname(os.path.realpath(lab_module.__file__))
PROGRAMS = ["netbird-wg", "netbird-ice", "netbird-helper"]
BACK_SECONDS = 15
GROWTH_MAX_KB = 300


class Pings:
    """Ten pings a second from a host, from now until done()."""

    def __init__(self, host, address, name="pings"):
        self.proc = host.start(name, ["ping", "-n", "-i", "0.1", "-W", "2", address])
        self.what = f"{host.name} -> {address}"
        wait_for(lambda: self.answered(), 10, f"{self.what}: the first ping is answered",
                 watch=[self.proc])

    def answered(self):
        return {int(n) for n in re.findall(r"icmp_seq=(\d+) ttl", self.proc.log())}

    def lost(self):
        """Those before the newest answer that were not answered themselves."""
        seen = self.answered()
        return sorted(set(range(1, max(seen) + 1)) - seen) if seen else []

    def more(self, count=3, seconds=5):
        """Waits for answers to pings that were sent from now on; what was lost before is counted then."""
        started = max(self.answered(), default=0) + 10
        wait_for(lambda: max(self.answered(), default=0) >= started + count, seconds + 2,
                 f"{self.what}: pings are answered", watch=[self.proc])

    def answer_after(self, began, seconds, what):
        """Waits for the first answer to a ping that was sent after the moment `began`."""
        sent = self.answered()
        after = max(sent) + 1 + int((time.monotonic() - began) * 10)
        wait_for(lambda: max(self.answered()) > after, seconds, f"{what}: {self.what} answered again",
                 watch=[self.proc])

    def check_none_lost(self, event):
        self.more()
        lost = self.lost()
        print(f"{event}: {len(lost)} of {max(self.answered())} pings lost", flush=True)
        check(not lost, f"{event}: pings {lost[:20]} lost")

    def done(self):
        self.proc.signal(signal.SIGINT)
        self.proc.wait(5)


def daemon_pids(helper, program):
    """Without the launcher, which has the helper's name, too."""
    return {pid for pid in helper.pids(program) if not helper.proc or pid != helper.proc.pid}


def programs_pids(helper):
    return {program: daemon_pids(helper, program) for program in PROGRAMS}


def programs_running(helper):
    return all(daemon_pids(helper, program) for program in PROGRAMS)


def kill(helper, program):
    """SIGKILL; returns the process ids that were."""
    old = daemon_pids(helper, program)
    check(old, f"no {program} with --config-dir {helper.dir}")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    return old


def replaced(helper, program, old, seconds=10):
    wait_for(lambda: daemon_pids(helper, program) - old, seconds, f"{program} is started again",
             watch=[helper.proc])


def wait_connected(helper, seconds=15):
    wait_for(lambda: (helper.status() or {}).get("daemonStatus") == "Connected", seconds,
             f"{helper.host.name}: status Connected", watch=[helper.proc])


def rss_anon_kb(helper):
    """{program: kB} of the three, without the launcher."""
    found = {}
    for program in PROGRAMS:
        for pid in daemon_pids(helper, program):
            text = lab_module.read_text(f"/proc/{pid}/status")
            found[program] = int(re.search(r"RssAnon:\s*(\d+)", text)[1])
    return found


def burst(here, address, count=80, seconds=8):
    """That many echo requests at once: (answered, milliseconds to the first answer)."""
    text = here.run([sys.executable, os.path.join(LIB, "burst.py"), address, count, seconds],
                    seconds=seconds + 10).stdout
    answered, first = re.match(r"(\d+) answered, first after ([\d.-]+) ms", text).groups()
    return int(answered), float(first)


class Growth:
    """What the programs of a helper use, from now until check(): memory, descriptors, log lines."""

    LINES_MAX = 60
    FDS_MAX = 5  # a new peer: 4 of netbird-ice

    def __init__(self, helper):
        self.helper, self.before = helper, rss_anon_kb(helper)
        self.fds, self.lines = self.count_fds(), self.count_lines()

    def count_fds(self):
        return {program: len(os.listdir(f"/proc/{pid}/fd"))
                for program, pids in programs_pids(self.helper).items() for pid in pids}

    def count_lines(self):
        return self.helper.proc.log().count("\n")

    def check(self, event):
        memory, fds = rss_anon_kb(self.helper), self.count_fds()
        lines = self.count_lines() - self.lines
        print(f"{event}: {self.helper.host.name}: RssAnon before {self.before}, after {memory} kB; "
              f"descriptors {self.fds}, {fds}; {lines} log lines", flush=True)
        growth = {name: memory[name] - self.before[name] for name in memory}
        check(max(growth.values()) <= GROWTH_MAX_KB, f"{event}: memory grew by {growth} kB")
        more = {name: fds[name] - self.fds[name] for name in fds}
        check(max(more.values()) <= self.FDS_MAX, f"{event}: more descriptors: {more}")
        check(lines <= self.LINES_MAX, f"{event}: {lines} log lines")


def pair_behind_nats(lab, tag=""):
    """Two connected helpers behind two port-restricted NATs, with a tunnel that carries pings."""
    hub = Hub(lab.public(f"hub{tag}"))
    a, b = connect(hub, lab.nat(f"nat-a{tag}").host(f"a{tag}"), lab.nat(f"nat-b{tag}").host(f"b{tag}"))
    overlay_ping(a.host, b.overlay())
    wait_connected(a)
    wait_connected(b)
    return hub, a, b


def programs_away(a, b, pings, programs, seconds):
    """Nobody restarts them: the launcher is gone, too."""
    endpoint, what = a.direct_endpoint(b.key), " and ".join(programs)
    growth = [Growth(a), Growth(b)]
    a.proc.signal(signal.SIGKILL)
    a.proc.wait(5)
    for program in programs:
        kill(a, program)
    time.sleep(seconds)  # the length of the outage is what is tested
    pings.check_none_lost(f"{what} away for {seconds} s")
    a.start()
    wait_for(lambda: programs_running(a), 10, "all three run again", watch=[a.proc])
    wait_connected(a, BACK_SECONDS)
    pings.check_none_lost(f"{what} back")
    for each in growth:
        each.check(f"{what} away for {seconds} s")
    check(a.direct_endpoint(b.key) == endpoint, f"{what} away: endpoint {endpoint} is kept")


def check_back_together(helper, seconds):
    """Whichever of management and signal is back first has the other tried at once."""
    def up(*names):
        status = helper.status()
        return [name for name in names if status[name]["connected"]]
    wait_for(lambda: up("management", "signal"), seconds, "management or signal is back")
    wait_for(lambda: len(up("management", "signal")) == 2, 1, "the other is back at once, too")


def servers_away(hub, a, b, seconds):
    """No ping is lost, memory does not grow, and everything is back within BACK_SECONDS."""
    pings = Pings(b.host, a.overlay(), "pings-servers")
    endpoint, growth = a.direct_endpoint(b.key), [Growth(a), Growth(b)]
    hub.proc.signal(signal.SIGKILL)
    hub.proc.wait(5)
    wait_for(lambda: a.status()["daemonStatus"] == "Connecting", 10, "status says Connecting")
    time.sleep(seconds)  # the length of the outage is what is tested
    hub.start()
    began = time.monotonic()
    check_back_together(a, BACK_SECONDS)
    wait_connected(b, BACK_SECONDS)
    print(f"servers away for {seconds} s: back after {time.monotonic() - began:.1f} s", flush=True)
    third = Helper(hub.host.lab.public(f"{hub.host.name}-third")).start(hub.url, hub.key("--reusable"))
    a.wait_direct(third.public_key() if third.overlay() else None, BACK_SECONDS)
    print(f"a new peer connected after {time.monotonic() - began:.1f} s", flush=True)
    overlay_ping(third.host, a.overlay())
    pings.check_none_lost(f"servers away for {seconds} s")
    check(time.monotonic() - began < BACK_SECONDS + 10, "the new peer took too long")
    check(a.direct_endpoint(b.key) == endpoint, "the endpoint is kept")
    for each in growth:
        each.check(f"servers away for {seconds} s")
    pings.done()
