"""netbird-ice alone: two of them, ice-drive in the place of both helpers, and a stand-in for WireGuard."""

import os
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib"))

import lab as lab_module  # noqa: E402
from lab import Failed, check, read_text, skip, wait_for  # noqa: E402
from programs import find_program  # noqa: E402

PORT = 51820
LIB = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib")
UID = 61902  # where the lab's /etc has no user netbird-ice


def tool(name):
    """Programs of the tests lie below the build directory."""
    path = os.path.join(os.environ.get("NBH_BIN_DIR", "build"), "tests", "lib", name)
    if not os.access(path, os.X_OK):
        skip(f"{path} is not there: make check_PROGRAMS, or {path[path.index('tests'):]}")
    return path


class Node:
    """One netbird-ice on its host, and somebody who holds WireGuard's port."""

    def __init__(self, lab, host, name):
        self.lab, self.host, self.name = lab, host, name
        self.dir = lab.dir(name)
        self.fifo = os.path.join(self.dir, "fifo")
        self.wg = host.start("wg", [sys.executable, os.path.join(LIB, "wg-standin.py"), PORT, self.fifo])
        self.ice = None
        self.n_pings = 0
        wait_for(lambda: "ready" in self.wg.log(), 10, "wg-standin", watch=[self.wg])

    def start(self, argv=(), before=()):
        self.ice = self.host.start("ice", [*before, find_program("netbird-ice"), "--config-dir",
                                           self.dir, "--debug", *argv])
        return self.ice

    def unprivileged(self, argv=()):
        """As the unit starts it: own user, ambient CAP_NET_RAW, /dev/net/tun open to everybody."""
        self.host.shell("mount -t tmpfs none /dev/net && mknod /dev/net/tun c 10 200 && chmod 666 /dev/net/tun")
        os.makedirs(f"{self.dir}/ice", mode=0o750, exist_ok=True)
        os.chown(f"{self.dir}/ice", UID, UID)
        return self.start(argv, before=["setpriv", "--reuid", UID, "--regid", UID, "--clear-groups",
                                        "--inh-caps", "-all,+net_raw", "--ambient-caps", "+net_raw",
                                        "--bounding-set", "-all,+net_raw", "--no-new-privs"])

    def pid(self):
        """The ice process itself: nsenter execs, so it is the one that we started."""
        return self.ice.pid

    def counters(self):
        before = self.ice.log().count("counters in_requests")
        self.ice.signal(signal.SIGUSR1)
        wait_for(lambda: self.ice.log().count("counters in_requests") > before, 5, "counters")
        line = [l for l in self.ice.log().splitlines() if "counters in_requests" in l][-1]
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}

    def ping(self, remote, count=5):
        """How many of `count` packets came back over this path from WireGuard's port."""
        address, port = remote.rsplit(":", 1)
        with open(self.fifo, "w", encoding="ascii") as fifo:
            fifo.write(f"{address.strip('[]')} {port} {count}\n")
        self.n_pings += 1
        wait_for(lambda: self.wg.log().count("answered") >= self.n_pings, 10 + count, "pings", watch=[self.wg])
        return int(re.findall(r"answered (\d+) of", self.wg.log())[-1])

    def check_isolated(self, backend):
        status = read_text(f"/proc/{self.pid()}/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            check(int(fields[name], 16) == 0, f"{self.name}: {name} is {fields[name]}")
        check(fields["NoNewPrivs"].strip() == "1", f"{self.name}: NoNewPrivs")
        check(fields["Seccomp"].strip() == "2", f"{self.name}: Seccomp")
        check(fields["Uid"].split() == [str(UID)] * 4, f"{self.name}: Uid {fields['Uid']}")
        check(fields["Gid"].split() == [str(UID)] * 4, f"{self.name}: Gid {fields['Gid']}")
        own = os.readlink(f"/proc/{self.pid()}/ns/net")
        check(own != os.readlink(f"/proc/{self.host.pid}/ns/net"), f"{self.name}: in the host's network")
        has_userns = os.readlink(f"/proc/{self.pid()}/ns/user") != os.readlink("/proc/self/ns/user")
        check(has_userns == (backend == "user-namespace"), f"{self.name}: user namespace")


class Client:
    """Speaks ice.sock itself, line by line."""

    def __init__(self, node, port=PORT):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def is_connected():
            try:
                self.sock.connect(f"{node.dir}/ice/ice.sock")
                return True
            except OSError:
                return False
        wait_for(is_connected, 5, "ice.sock", watch=[node.ice])
        self.expect("HELLO 1 ")
        self.say(f"SET_PORT {port}")

    def say(self, line):
        self.sock.send(line if isinstance(line, bytes) else line.encode())

    def read(self, seconds=5):
        """One line; "" when the other end closed; None when nothing came."""
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(65536).decode()
        except TimeoutError:
            return None

    def expect(self, start, seconds=5):
        line = self.read(seconds)
        check(line is not None and line.startswith(start) and (start or not line), f"{start!r} expected: {line!r}")
        return line


class Result:
    """What ice-drive printed."""

    def __init__(self, text, status):
        self.text, self.status = text, status

    def last(self, event, end):
        found = re.findall(rf"^\d+ {event} {end} ?(.*)$", self.text, re.M)
        return found[-1].split() if found else None

    def pair(self, end):
        selected = self.last("selected", end)
        check(selected, f"{end} selected nothing:\n{self.text}")
        return selected[:4]

    def selected_ms(self):
        """Of every round, when the later end had a pair."""
        times = {"A": [], "B": []}
        for end, ms in re.findall(r"selected (\w) .* (\d+)$", self.text, re.M):
            times[end].append(int(ms))
        return times


def drive(lab_host, a, b, *argv, ok=True, seconds=60):
    """b None: the far end is somebody else."""
    dirs = ["--dir-a", a.dir] + (["--dir-b", b.dir] if b else [])
    done = lab_host.run([tool("ice-drive"), *dirs, *argv], ok=False, seconds=seconds)
    result = Result(done.stdout, done.returncode)
    if ok and done.returncode != 0:
        raise Failed(f"ice-drive: status {done.returncode}: {done.stdout}{done.stderr}")
    return result


def hosts(host):
    return ",".join(address for address in (host.v4, host.v6) if address)


def drive_hosts(a, b, *argv, **more):
    return drive(a.host, a, b, "--hosts-a", hosts(a.host), "--hosts-b", hosts(b.host), *argv, **more)
