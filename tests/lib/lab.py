"""A private network laboratory: an "internet", NAT boxes and hosts in namespaces.

One call of enter() puts this process into mount, network and PID namespaces of its own; everything
that it starts lives and dies in there. The PID namespace makes the cleaning up certain: when the
case ends, however it ends (return, exception, Ctrl-C, kill -9), the kernel ends every process in it,
and with them the namespaces, links and mounts. Nothing outside is touched, so any number of labs
can run at once.

    lab.run(main)                    enter, call main(lab), print the logs if it failed, exit
    lab.public("a")                  a host with 203.0.113.x and 2001:db8:203::x
    nat = lab.nat("n", "symmetric")  a NAT box; nat.host("b") is a host behind it
    host.firewall()                  stateful, drops what nobody asked for
    host.start("name", argv)         a program with a log file; host.run(argv) waits for the end
    wait_for(lambda: ..., 10, "x")   poll with a deadline; nothing here sleeps blindly

The process itself sits on the internet (203.0.113.254), so it can ask servers directly.
Host interfaces are named eth0: clients ignore veth* and br-* by default.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

SKIP_STATUS = 77  # automake's number for "skipped"

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
NEEDED_TOOLS = ["ip", "nft", "mount", "nsenter", "unshare", "ping"]

NAT_KINDS = {
    # Ports are kept where they are free, mappings do not depend on the destination, and only an
    # address and port that was sent to may answer: what most home routers do.
    "port-restricted": 'oifname "wan" masquerade',
    # A new random port for every destination.
    "symmetric": 'oifname "wan" masquerade random,fully-random',
    # As port-restricted, but everybody may come in (all UDP goes to the first host).
    "full-cone": 'oifname "wan" masquerade',
}

libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """What a case found wrong: one line for the reader."""


class Skipped(Exception):
    """Why a case cannot run here."""


def skip(reason):
    raise Skipped(reason)


def check(condition, what):
    if not condition:
        raise Failed(what)


def clean_environment(extra=None):
    """What programs in the lab see: no proxies, no secrets, nothing of the caller's session."""
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
    }
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "G_DEBUG", "NB_LOG_LEVEL"):
        if name in os.environ:
            env[name] = os.environ[name]
    env.update(extra or {})
    return env


def wait_for(probe, seconds, what, interval=0.02, watch=()):
    """Calls probe() until it returns something true, and returns that.

    Fails with `what` after the deadline, or at once when one of the programs in `watch` ended.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        for proc in watch:
            if proc.poll() is not None:
                raise Failed(f"{what}: {proc.name} ended with status {proc.poll()}")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(interval)


def read_json(path):
    """The JSON in a file that is replaced by rename; None while it is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def check_tools():
    if os.geteuid() != 0:
        skip("the lab needs root")
    missing = [tool for tool in NEEDED_TOOLS if not shutil.which(tool)]
    if missing:
        skip(f"missing programs: {' '.join(missing)} (scripts/install-deps)")


class Proc:
    """A program that runs in a host, with a log of its own."""

    def __init__(self, host, name, argv, env=None, cwd=None):
        self.name = f"{host.name}/{name}"
        self.log_path = os.path.join(host.lab.log_dir, f"{host.name}-{name}.log")
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                host.argv(argv, cwd), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=clean_environment(env), start_new_session=True)
        self.pid = self.popen.pid

    def poll(self):
        return self.popen.poll()

    def log(self):
        return read_text(self.log_path)

    def wait(self, seconds):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: still running after {seconds} s") from None

    def signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def stop(self, seconds=5):
        """SIGTERM, and SIGKILL when that did not help. Returns the exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self.popen.wait()


class Host:
    """A network and mount namespace, held open by one sleeping process."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.v4 = self.v6 = None       # own addresses
        self.public_v4 = None          # what the internet sees: the NAT's address, or the own one
        self.nat = None
        self.procs = []
        self.n_runs = 0
        self.etc_is_private = False
        os.makedirs("/run/wireguard", exist_ok=True)
        # sysfs shows the network namespace of whoever mounted it. wireguard-go's sockets are named
        # after the interface alone, so every host has a directory of its own.
        setup = ("mount -t sysfs -o ro none /sys && mount -t tmpfs none /run/wireguard && "
                 "ip link set lo up && echo ready && exec sleep infinity")
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", setup],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=clean_environment(), start_new_session=True)
        if self.holder.stdout.readline() != b"ready\n":
            raise Failed(f"cannot make host {name}: {self.holder.stderr.read().decode()}")
        self.pid = self.holder.pid
        # Duplicate address detection would only delay every start by a second or two.
        self.shell("for c in all default; do "
                   "echo 0 > /proc/sys/net/ipv6/conf/$c/accept_dad; "
                   "echo 0 > /proc/sys/net/ipv6/conf/$c/accept_ra; "
                   "echo 0 > /proc/sys/net/ipv6/conf/$c/router_solicitations; done")

    def argv(self, argv, cwd=None):
        enter = ["nsenter", "--target", str(self.pid), "--net", "--mount"]
        if cwd:
            enter += ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(cwd)]
        return enter + [str(arg) for arg in argv]

    def run(self, argv, seconds=30, env=None, ok=True, stdin=None, cwd=None):
        """Runs to the end and returns the CompletedProcess; ok=False tolerates failure."""
        try:
            done = subprocess.run(
                self.argv(argv, cwd), input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                timeout=seconds, env=clean_environment(env), start_new_session=True)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{self.name}: {' '.join(map(str, argv))}: not done in {seconds} s: "
                         f"{late.stdout or ''}{late.stderr or ''}") from None
        if ok and done.returncode != 0:
            raise Failed(f"{self.name}: {' '.join(map(str, argv))}: status {done.returncode}: "
                         f"{done.stdout}{done.stderr}")
        return done

    def shell(self, text):
        return self.run(["sh", "-ec", text])

    def nft(self, rules):
        self.run(["nft", "-f", "-"], stdin=rules)

    def start(self, name, argv, env=None, cwd=None):
        proc = Proc(self, name, argv, env, cwd)
        self.procs.append(proc)
        self.lab.procs.append(proc)
        return proc

    def private_etc(self):
        """Official clients rewrite /etc/resolv.conf and more: let them, where nobody sees it."""
        if self.etc_is_private:
            return
        self.etc_is_private = True
        self.shell("mkdir -p /run/etc-overlay && mount -t tmpfs none /run/etc-overlay && "
                   "mkdir /run/etc-overlay/upper /run/etc-overlay/work && "
                   "mount -t overlay -o lowerdir=/etc,upperdir=/run/etc-overlay/upper,"
                   "workdir=/run/etc-overlay/work none /etc")

    def firewall(self):
        """The usual host firewall: answers may come in, and whatever comes through a tunnel."""
        self.nft("""
            table inet fw {
                chain input {
                    type filter hook input priority 0; policy drop;
                    iifname { "lo", "nbh0", "wt0" } accept
                    ct state established,related accept
                    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
                }
            }""")

    def drop_udp(self, port=None):
        """Cuts this host's UDP off, in both directions; allow_udp() ends it."""
        match = f"udp dport {port}" if port else "meta l4proto udp"
        match_in = f"udp sport {port}" if port else "meta l4proto udp"
        self.nft(f"""
            table inet cut {{
                chain out {{ type filter hook output priority 0; oifname "eth0" {match} drop; }}
                chain inp {{ type filter hook input priority 0; iifname "eth0" {match_in} drop; }}
            }}""")

    def allow_udp(self):
        self.run(["nft", "delete", "table", "inet", "cut"])

    def ping(self, address, count=5, interval=0.2, seconds=None):
        """Returns how many of `count` pings were answered."""
        seconds = seconds or count * interval + 10
        done = self.run(["ping", "-n", "-q", "-c", count, "-i", interval, "-W", "2", address],
                        seconds=seconds, ok=False)
        for word, after in zip(done.stdout.split(), done.stdout.split()[1:]):
            if after.startswith("received"):
                return int(word)
        raise Failed(f"{self.name}: ping {address}: {done.stdout}{done.stderr}")


class Nat(Host):
    """A NAT box. Its hosts share the network 10.0.N.0/24 (and fd00:N::/64 routed, if v6)."""

    def __init__(self, lab, name, kind, v6=False):
        super().__init__(lab, name)
        self.kind = kind
        self.n_hosts = 0
        self.number = lab.next_nat()
        lab.plug(self, "wan", v4=True, v6=v6)
        self.gateway = f"10.0.{self.number}.1"
        self.shell("ip link add lan type bridge && ip link set lan up && "
                   f"ip addr add {self.gateway}/24 dev lan && "
                   "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.nft(f"""
            table inet nat {{
                chain post {{
                    type nat hook postrouting priority 100;
                    meta nfproto ipv4 {NAT_KINDS[kind]}
                }}
            }}
            table inet filter {{
                chain input {{
                    type filter hook input priority 0; policy drop;
                    iifname {{ "lo", "lan" }} accept
                    ct state established,related accept
                    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
                }}
                chain forward {{
                    type filter hook forward priority 0; policy drop;
                    iifname "lan" accept
                    ct state established,related accept
                    ct status dnat accept
                }}
            }}""")

    def host(self, name):
        host = Host(self.lab, name)
        self.n_hosts += 1
        host.nat = self
        host.v4 = f"10.0.{self.number}.{self.n_hosts + 1}"
        host.public_v4 = self.public_v4
        port = f"p{self.n_hosts}"
        self.lab.veth(host, "eth0", self.pid, port)
        self.shell(f"ip link set {port} master lan up")
        host.shell(f"ip addr add {host.v4}/24 dev eth0 && ip link set eth0 up && "
                   f"ip route add default via {self.gateway}")
        if self.kind == "full-cone" and self.n_hosts == 1:
            self.nft(f"""
                table ip forwarded {{
                    chain pre {{
                        type nat hook prerouting priority -100;
                        iifname "wan" meta l4proto udp dnat to {host.v4}
                    }}
                }}""")
        return host

    def forget(self):
        """Drops every mapping, as a rebooted router does."""
        self.run(["conntrack", "-F"], ok=False)

    def forget_udp(self):
        """What silence does to a mapping: TCP connections live much longer."""
        self.run(["conntrack", "-D", "-p", "udp"], ok=False)


class Lab:
    """The internet: a bridge in this process's own network namespace."""

    def __init__(self, work_dir):
        self.work_dir = work_dir
        self.log_dir = os.path.join(work_dir, "log")
        os.mkdir(self.log_dir)
        self.procs = []
        self.dump_only = None
        self.n_public = self.n_nats = self.n_ports = 0
        self.lock = threading.Lock()
        sh("ip link set lo up && ip link add inet0 type bridge && ip link set inet0 up && "
           "echo 0 > /proc/sys/net/ipv6/conf/inet0/accept_dad && "
           "ip addr add 203.0.113.254/24 dev inet0 && "
           "ip addr add 2001:db8:203::fe/64 dev inet0 nodad")

    def dir(self, name):
        """A directory for a program's files: others may look through, as in /var/lib."""
        path = os.path.join(self.work_dir, name)
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path

    def next_nat(self):
        with self.lock:
            self.n_nats += 1
            return self.n_nats

    def veth(self, host, interface, peer_pid, peer_name):
        sh(f"ip link add {interface} netns {host.pid} type veth peer name {peer_name} netns {peer_pid}")

    def plug(self, host, interface, v4, v6, rtt_ms=0):
        """Connects a host to the internet, by a long cable if rtt_ms says so."""
        with self.lock:
            self.n_public += 1
            self.n_ports += 1
            number, port = self.n_public, f"port{self.n_ports}"
        if rtt_ms:
            self.long_cable(host, interface, port, rtt_ms)
        else:
            self.veth(host, interface, os.getpid(), port)
        sh(f"ip link set {port} master inet0 up")
        lines = [f"ip link set {interface} up"]
        if v4:
            host.v4 = host.public_v4 = f"203.0.113.{number}"
            lines += [f"ip addr add {host.v4}/24 dev {interface}",
                      "ip route add default via 203.0.113.254"]
        if v6:
            host.v6 = f"2001:db8:203::{number:x}"
            lines += [f"ip addr add {host.v6}/64 dev {interface} nodad",
                      "ip -6 route add default via 2001:db8:203::fe"]
        host.shell(" && ".join(lines))

    def long_cable(self, host, interface, port, rtt_ms):
        """tc's netem would do, but not every kernel has it."""
        wire = subprocess.Popen(
            [sys.executable, os.path.join(os.path.dirname(os.path.realpath(__file__)), "delaywire.py"),
             port, str(host.pid), interface, str(rtt_ms / 2)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=clean_environment(),
            start_new_session=True)
        if wire.stdout.readline() != b"ready\n":
            raise Failed(f"{host.name}: no delayed cable")
        host.wire = wire

    def public(self, name, v4=True, v6=False, rtt_ms=0):
        host = Host(self, name)
        self.plug(host, "eth0", v4, v6, rtt_ms)
        return host

    def nat(self, name, kind="port-restricted"):
        return Nat(self, name, kind)

    def stop(self):
        for proc in reversed(self.procs):
            proc.signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        for proc in self.procs:
            try:
                proc.popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                proc.signal(signal.SIGKILL)

    def dump_logs(self, out=sys.stdout, tail=120):
        """The end of every log, or of those whose names begin as dump_only says."""
        for directory, _, files in sorted(os.walk(self.log_dir)):
            for name in sorted(files):
                if self.dump_only is not None and not name.startswith(tuple(self.dump_only)):
                    continue
                lines = read_text(os.path.join(directory, name)).splitlines()
                print(f"---- {name} ({len(lines)} lines)", file=out)
                for line in lines[-tail:]:
                    print("  " + line, file=out)
        out.flush()


def sh(text):
    done = subprocess.run(["sh", "-ec", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env=clean_environment(), check=False)
    if done.returncode != 0:
        raise Failed(f"{text}: {done.stdout}")
    return done.stdout


def libc_call(name, *args):
    if getattr(libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def wait_status(pid):
    while True:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except InterruptedError:
            continue


def reap_until(worker):
    """Process 1 of the PID namespace: collects orphans until the worker ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the worker, too
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(worker, signal.SIGTERM))
    while True:
        pid, status = os.wait()
        if pid == worker:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def hide_users(directory):
    """As before systemd-sysusers: what the tests expect is the same on every host."""
    for name in ("passwd", "group"):
        own = os.path.join(directory, name)
        sh(f"grep -v ^netbird /etc/{name} >{own} && chmod 644 {own} && mount --bind {own} /etc/{name}")


def enter():
    """Returns in a process of the new namespaces; the caller's own process waits and cleans up."""
    check_tools()
    work_dir = tempfile.mkdtemp(prefix="nbh-lab.")
    os.chmod(work_dir, 0o755)
    sys.stdout.flush()
    sys.stderr.flush()
    libc_call("unshare", CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET)
    init = os.fork()
    if init != 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: os.kill(init, signal.SIGTERM))
        status = wait_status(init)
        if os.environ.get("NBH_LAB_KEEP"):
            print(f"# kept: {work_dir}", file=sys.stderr)
        else:
            shutil.rmtree(work_dir, ignore_errors=True)
        sys.stdout.flush()
        os._exit(status if status >= 0 else 128 - status)

    libc_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    worker = os.fork()
    if worker != 0:
        reap_until(worker)

    def interrupted(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)
    sh("mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs -o mode=755 none /run && "
       "mkdir /run/netns && mount -t sysfs -o ro none /sys")
    hide_users(work_dir)
    return work_dir


def run(main):
    """Runs one case and exits: 0 fine, 1 failed (with every log), 77 skipped (with the reason)."""
    try:
        lab = Lab(enter())
    except Skipped as reason:
        print(f"SKIP: {reason}")
        sys.exit(SKIP_STATUS)
    status = 1
    try:
        main(lab)
        status = 0
    except Skipped as reason:
        print(f"SKIP: {reason}")
        status = SKIP_STATUS
    except Failed as failure:
        print(f"FAILED: {failure}")
        lines = traceback.extract_tb(failure.__traceback__)
        print("\n".join(f"  at {os.path.basename(frame.filename)}:{frame.lineno} {frame.name}"
                        for frame in lines))
    except KeyboardInterrupt:
        print("FAILED: interrupted")
    except Exception:  # a mistake in the case itself
        traceback.print_exc(file=sys.stdout)
    lab.stop()
    if status == 1:
        lab.dump_logs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
