"""The two kinds of far and near end, as the measurements start, watch and stop them."""

import calendar
import os
import re
import sys
import threading
import time

import lab as lab_module
from lab import Failed, wait_for
from programs import INTERFACE, Helper, OfficialClient

POLL_SECONDS = 0.002


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


class Watch(threading.Thread):
    """Notes when probe() becomes true for the first time."""

    def __init__(self, probe):
        super().__init__(daemon=True)
        self.probe, self.at, self.is_over = probe, None, False
        self.start()

    def run(self):
        while self.at is None and not self.is_over:
            try:
                if self.probe():
                    self.at = time.monotonic()
            except (OSError, ValueError, Failed):
                pass  # not there yet
            time.sleep(POLL_SECONDS)


def kill(pid):
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


def kill_in(host):
    """Everything in the host's network namespace, WireGuard too: as after a loss of power."""
    own = os.readlink(f"/proc/{host.pid}/ns/net")
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(entry) != host.pid and os.readlink(f"/proc/{entry}/ns/net") == own:
                kill(int(entry))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass


def kill_helper(helper):
    """The launcher first: it would start the others again."""
    if helper.proc:
        helper.proc.signal(9)
        helper.proc.popen.wait()
    for pid in helper.pids():
        kill(pid)
    kill_in(helper.host)
    # What is still dying holds its locks and its TUN device, and would be in the way of the next start.
    wait_for(lambda: not helper.pids(), 10, f"{helper.host.name}: all programs are gone")
    wait_for(lambda: helper.host.run(["ip", "link", "show", INTERFACE], ok=False).returncode, 10,
             f"{helper.host.name}: {INTERFACE} is gone")


def log_time(line):
    """2026-11-21T02:44:34.014Z as seconds since the epoch."""
    found = re.match(r"(\d+-\d+-\d+T\d+:\d+:\d+)(\.\d+)?Z", line)
    stamp = calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    return stamp + float(found[2] or 0)


class HelperEnd:
    def __init__(self, host, url, key, greater_than=None, greater=True):
        self.host = host
        self.helper = Helper(host)
        if greater_than:
            self.helper.choose_key(greater_than, greater)
        self.helper.command("login", "--management-url", url, "--setup-key-file",
                            self.helper.key_file(key), "--hostname", host.name)
        self.helper.env = self.helper.environment(url, None)
        self.key = self.helper.public_key()
        self.address = self.watch = None

    def start(self):
        self.helper.start()

    def wait_running(self):
        wait_for(lambda: (self.helper.status() or {}).get("signal", {}).get("connected"), 15,
                 "the helper runs", watch=[self.helper.proc])

    def watch_direct(self, other):
        def direct():
            endpoint = self.helper.wg_endpoint(other.key)
            return endpoint and not endpoint.startswith("127.")
        self.watch = Watch(direct)

    def direct_at(self):
        return self.watch.at

    def stop(self):
        if self.watch:
            self.watch.is_over = True
        kill_helper(self.helper)


class OfficialEnd:
    def __init__(self, host, binary, url, key):
        self.host = host
        self.client = OfficialClient(host, binary)
        self.client.up(url, key)
        self.address = self.client.overlay()
        self.key = self.client.public_key()
        self.client.stop()

    def start(self):
        self.offset = time.monotonic() - time.time()
        self.from_time = time.time()
        self.client.proc = None
        self.client.start_without_waiting()

    def wait_running(self):
        wait_for(lambda: ((self.client.status() or {}).get("signal") or {}).get("connected"), 15,
                 "the official client runs", interval=0.1)

    def watch_direct(self, other):
        self.other = other

    def direct_at(self):
        for line in lab_module.read_text(self.client.log_path).splitlines():
            if "set ICE to active connection" in line and self.other.key in line:
                if log_time(line) >= self.from_time:
                    return log_time(line) + self.offset
        return None

    def stop(self):
        self.client.stop()
