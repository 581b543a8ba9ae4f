"""The programs under test, and the official ones beside them, as they run in a lab.

Hub and Helper are ours. OfficialServer and OfficialClient wrap binaries of NetBird that somebody
built (scripts/interop says how they are given); nothing here needs them otherwise.
"""

import base64
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request

import lab as lab_module
from lab import Failed, check, read_json, wait_for

OURS = ["netbird-helper", "netbird-ice", "netbird-wg"]
INTERFACE = "nbh0"
PORT = 51820
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# The lab needs no proxy, whatever the caller's environment says.
_web = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(url, method="GET", body=None, headers=None, seconds=5):
    """(status, decoded JSON or text); status 0 when there is no answer at all."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
    if data:
        request.add_header("Content-Type", "application/json")
    try:
        with _web.open(request, timeout=seconds) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode(errors="replace")
    except OSError:
        return 0, ""
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def place(address, port=PORT):
    """An endpoint as peers.json writes it."""
    return f"{bracketed(address)}:{port}"


def have_wireguard_module():
    return os.path.isdir("/sys/module/wireguard") or os.system(
        "modprobe -nq wireguard 2>/dev/null") == 0


def find_program(name):
    """In $NBH_BIN_DIR (a build directory or /usr/sbin); skips the case when it is not there."""
    directory = os.environ.get("NBH_BIN_DIR", "")
    for path in (os.path.join(directory, name), os.path.join(directory, "src", name)):
        if directory and os.access(path, os.X_OK):
            return path
    lab_module.skip(f"no {name} in NBH_BIN_DIR={directory or '(unset)'}; build it first")
    return None


_installing = threading.Lock()  # cases that run side by side in one lab


def install(lab, with_hub=True):
    """Shows the built programs at one place that every user may enter, as an installation does."""
    with _installing:
        return install_once(lab, with_hub)


def install_once(lab, with_hub):
    target = "/run/nbh"
    if not os.path.isdir(target):
        names = OURS + (["netbird-hub"] if with_hub else [])
        paths = {name: find_program(name) for name in names}
        os.makedirs(target, mode=0o755)
        for name, path in paths.items():
            # A copy, not a mount: hosts that exist already would not see a mount.
            os.chmod(shutil.copy(path, target), 0o755)
    return target


def pids_of(config_dir, name=None):
    """Processes whose command line names this config directory: {pid: program}."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        program = os.path.basename(words[0])
        if config_dir in words and program in OURS and state != "Z" and name in (None, program):
            found[int(entry)] = program
    return found


def ticks_of(pid):
    """utime + stime from /proc/PID/stat: fields 14 and 15 (proc(5))."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


class Certificates:
    """A CA of its own and certificates of it, by the openssl command."""

    def __init__(self, directory):
        self.dir = directory
        self.ca = os.path.join(directory, "ca.pem")
        self.openssl("req", "-x509", *self.NEW_KEY, "-keyout", self.file("ca.key"), "-out", self.ca,
                     "-subj", "/CN=lab CA", "-days", "30")

    NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def file(self, name):
        return os.path.join(self.dir, name)

    def openssl(self, *words):
        done = subprocess.run(["openssl", *words], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        check(done.returncode == 0, f"openssl {words[0]}: {done.stderr}")

    def make(self, name, san):
        """NAME.pem and NAME.key; each replaced in one step."""
        self.openssl("req", *self.NEW_KEY, "-keyout", self.file("new.key"),
                     "-out", self.file("new.csr"), "-subj", f"/CN={name}",
                     "-addext", f"subjectAltName={san}")
        self.openssl("x509", "-req", "-in", self.file("new.csr"), "-CA", self.ca, "-CAkey",
                     self.file("ca.key"), "-CAcreateserial", "-copy_extensions", "copy", "-days", "9",
                     "-out", self.file("new.pem"))
        os.rename(self.file("new.key"), self.file(f"{name}.key"))
        os.rename(self.file("new.pem"), self.file(f"{name}.pem"))


class Hub:
    """netbird-hub on a host of the lab: management, signal and STUN."""

    def __init__(self, host, port=8080, stun=3478, name="hub", address=None, tls=False):
        self.host, self.name = host, name
        self.program = os.path.join(install(host.lab), "netbird-hub")
        self.dir = host.lab.dir(f"{host.name}-{name}")
        self.address = address or host.v4 or host.v6
        self.port, self.stun = port, stun
        self.url = f"{'https' if tls else 'http'}://{bracketed(self.address)}:{port}"
        self.certificates = None
        if tls:
            self.certificates = Certificates(host.lab.dir(f"{host.name}-{name}-certificates"))
            self.certificates.make("hub", f"{'IP' if self.address in (host.v4, host.v6) else 'DNS'}:{self.address}")
        self.start()

    def tls_options(self):
        if not self.certificates:
            return []
        return ["--tls-cert", self.certificates.file("hub.pem"),
                "--tls-key", self.certificates.file("hub.key")]

    def start(self):
        any_address = "[::]" if self.host.v6 else "0.0.0.0"
        self.proc = self.host.start(self.name, [
            self.program, "--config-dir", self.dir, "--listen", f"{any_address}:{self.port}",
            "--public-url", self.url, "--stun", self.stun, *self.tls_options()])
        address = "::1" if self.host.v6 else "127.0.0.1"
        probe = ["python3", "-c", "import socket,sys; socket.create_connection"
                 f"(({address!r}, {self.port}), 1)"]
        wait_for(lambda: self.host.run(probe, ok=False).returncode == 0, 10,
                 "netbird-hub listens", interval=0.05, watch=[self.proc])

    def key(self, *options):
        done = self.host.run([self.program, "key", "create", "--config-dir", self.dir, *options])
        key = done.stdout.strip()
        check(key and " " not in key and "\n" not in key,
              f"key create must print the key alone, not {done.stdout!r}")
        return key

    def command(self, *words, ok=True):
        return self.host.run([self.program, *words, "--config-dir", self.dir], ok=ok)


class Helper:
    """netbird-helper with its own netbird-ice and netbird-wg, started by its launcher."""

    def __init__(self, host, name="helper"):
        self.host, self.name = host, name
        self.bin_dir = install(host.lab)
        self.program = os.path.join(self.bin_dir, "netbird-helper")
        self.dir = host.lab.dir(f"{host.name}-{name}")
        self.proc = None
        self.env = {}
        self.wrap = []  # what it is run by, e.g. tests/lib/container.py

    def key_file(self, key):
        path = os.path.join(self.host.lab.dir("keys"), f"{self.host.name}-{self.name}")
        with open(path, "w", encoding="ascii") as file:
            file.write(key + "\n")
        os.chmod(path, 0o600)
        return path

    def choose_key(self, other, greater):
        """Fixes who controls (the greater key text does) by making the key before the login."""
        while True:
            private = self.host.run(["wg", "genkey"]).stdout
            public = self.host.run(["wg", "pubkey"], stdin=private).stdout.strip()
            if (public > other) == greater:
                break
        path = os.path.join(self.dir, "private.key")
        with open(path, "w", encoding="ascii") as file:
            file.write(private)
        os.chmod(path, 0o640)

    def environment(self, url, key, **extra):
        env = {"NB_MANAGEMENT_URL": url, "NB_HOSTNAME": self.host.name}
        if key:
            env["NB_SETUP_KEY_FILE"] = self.key_file(key)
        if not have_wireguard_module():
            env["NB_WG_KERNEL_DISABLED"] = "true"
        env.update(extra)
        return env

    def start(self, url=None, key=None, **extra):
        if url:
            self.env = self.environment(url, key, **extra)
        self.started_at = time.monotonic()
        self.proc = self.host.start(
            self.name, self.wrap + [self.program, "--config-dir", self.dir], env=self.env)
        return self

    def command(self, *words, ok=True, seconds=30, env=None):
        return self.host.run(self.wrap + [self.program, *words, "--config-dir", self.dir], ok=ok,
                             seconds=seconds, env=env)

    def stop(self, number=signal.SIGTERM):
        self.proc.signal(number)
        return self.proc.wait(10)

    # What it published.

    def device(self):
        return read_json(os.path.join(self.dir, "device.json"))

    def peers_json(self):
        return read_json(os.path.join(self.dir, "peers.json"))

    def status(self):
        return read_json(os.path.join(self.dir, "status.json"))

    def wg_status(self):
        return read_json(os.path.join(self.dir, "wg", "status.json"))

    def public_key(self):
        with open(os.path.join(self.dir, "private.key"), encoding="ascii") as file:
            done = self.host.run(["wg", "pubkey"], stdin=file.read())
        return done.stdout.strip()

    def overlay(self, seconds=15):
        """The own overlay address, once the server has given one."""
        def probe():
            device = self.device()
            return device and device.get("addresses")
        addresses = wait_for(probe, seconds, f"{self.host.name}: device.json", watch=[self.proc])
        return next(a for a in addresses if "." in a).split("/")[0]

    def peer(self, public_key=None):
        """One entry of peers.json: that of the key, or the only one."""
        peers = (self.peers_json() or {}).get("peers", [])
        for peer in peers:
            if public_key in (None, peer["publicKey"]):
                return peer
        return None

    def endpoint(self, public_key=None):
        peer = self.peer(public_key)
        return peer.get("endpoint") if peer else None

    def direct_endpoint(self, public_key=None):
        """The endpoint, if it is a real path: 127.x is idle, relayed or TURN."""
        endpoint = self.endpoint(public_key)
        return endpoint if endpoint and not endpoint.startswith("127.") else None

    def wait_direct(self, public_key=None, seconds=20):
        return wait_for(lambda: self.direct_endpoint(public_key), seconds,
                        f"{self.host.name}: direct endpoint in peers.json", interval=0.01,
                        watch=[self.proc])

    def wg_endpoint(self, public_key):
        """The endpoint that WireGuard itself uses at the moment; it follows authenticated packets."""
        path = f"/proc/{self.host.pid}/root/run/wireguard/{INTERFACE}.sock"
        if not os.path.exists(path):
            done = self.host.run(["wg", "show", INTERFACE, "endpoints"], ok=False)
            found = dict(line.split("\t") for line in done.stdout.splitlines())
            return found.get(public_key)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(b"get=1\n\n")
            text = b""
            while not text.endswith(b"\n\n"):
                text += sock.recv(65536)
        wanted = base64.b64decode(public_key).hex()
        current = None
        for line in text.decode().splitlines():
            name, _, value = line.partition("=")
            if name == "public_key":
                current = value
            elif name == "endpoint" and current == wanted:
                return value
        return None

    def wait_handshake(self, public_key, seconds=15):
        """WireGuard itself confirms the path."""
        def probe():
            done = self.host.run(["wg", "show", INTERFACE, "latest-handshakes"], ok=False)
            for line in done.stdout.splitlines():
                key, stamp = line.split()
                if key == public_key and int(stamp) > 0:
                    return True
            return False
        wait_for(probe, seconds, f"{self.host.name}: WireGuard handshake", watch=[self.proc])

    def pids(self, name=None):
        return pids_of(self.dir, name)

    def ticks(self):
        """Clock ticks that helper (with launcher) and ice have used so far."""
        return sum(ticks_of(pid) for pid, program in self.pids().items()
                   if program in ("netbird-helper", "netbird-ice"))


class NamedHelper(Helper):
    """In a UTS namespace of its own, so that its host name can change."""

    def __init__(self, host, name):
        super().__init__(host)
        program = os.path.join(host.lab.dir(f"{host.name}-bin"), "netbird-helper")
        with open(program, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexec unshare --uts sh -c 'hostname \"$0\" && exec \"$@\"' "
                       f"{name} {self.program} \"$@\"\n")
        os.chmod(program, 0o755)
        self.program = program

    def rename(self, name):
        self.host.run(["nsenter", "--target", self.proc.pid, "--uts", "hostname", name])

    def told(self):
        """How often something about it was worth a SyncMeta."""
        return self.proc.log().count("facts-changed")


class OfficialServer:
    """The official combined server: management, signal, relay and STUN."""

    def __init__(self, host, binary, port=8080):
        self.host, self.binary = host, binary
        self.dir = host.lab.dir(f"{host.name}-netbird-server")
        self.url = f"http://{bracketed(host.v4 or host.v6)}:{port}"
        self.token = None
        config = os.path.join(self.dir, "config.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""server:
  listenAddress: ":{port}"
  exposedAddress: "{self.url}"
  healthcheckAddress: "127.0.0.1:9000"
  metricsPort: 9090
  logLevel: "info"
  logFile: "console"
  authSecret: "{base64.b64encode(os.urandom(24)).decode()}"
  dataDir: "{self.dir}"
  disableAnonymousMetrics: true
  disableGeoliteUpdate: true
  auth:
    issuer: "http://localhost:{port}/oauth2"
  store:
    engine: "sqlite"
    encryptionKey: "{base64.b64encode(os.urandom(32)).decode()}"
""")
        self.start()
        status, answer = http(f"{self.url}/api/setup", "POST", {
            "email": "admin@lab.test", "password": base64.b64encode(os.urandom(15)).decode() + "aA1!",
            "name": "admin", "create_pat": True, "pat_expire_in": 1})
        check(status == 200, f"POST /api/setup: {status} {answer}")
        self.token = answer["personal_access_token"]

    def start(self):
        config = os.path.join(self.dir, "config.yaml")
        self.proc = self.host.start(
            "netbird-server", [self.binary, "--config", config],
            env={"NB_SETUP_PAT_ENABLED": "true", "NB_DISABLE_GEOLOCATION": "true"})
        wait_for(lambda: http(f"{self.url}/api/instance", seconds=1)[0] == 200, 30,
                 "the official server answers", interval=0.05, watch=[self.proc])

    def api(self, method, path, body=None):
        status, answer = http(f"{self.url}/api/{path}", method, body,
                              {"Authorization": f"Token {self.token}"})
        check(200 <= status < 300, f"{method} /api/{path}: {status} {answer}")
        return answer

    def key(self, groups=(), kind="reusable", limit=0):
        return self.api("POST", "setup-keys", {
            "name": "lab", "type": kind, "expires_in": 86400, "auto_groups": list(groups),
            "usage_limit": limit, "ephemeral": False})["key"]

    def isolate(self):
        """Removes the policy "everybody reaches everybody": afterwards only room() connects."""
        for policy in self.api("GET", "policies"):
            self.api("DELETE", f"policies/{policy['id']}")

    def store(self, query, *values):
        """What REST does not show, from the server's database, read only."""
        with sqlite3.connect(f"file:{self.dir}/store.db?mode=ro", uri=True) as store:
            return store.execute(query, values).fetchall()

    def room(self, name):
        """A setup key whose peers see each other and nobody else."""
        group = self.api("POST", "groups", {"name": name})["id"]
        self.api("POST", "policies", {"name": name, "enabled": True, "rules": [{
            "name": name, "enabled": True, "action": "accept", "bidirectional": True,
            "protocol": "all", "sources": [group], "destinations": [group]}]})
        return self.key([group])


class OfficialClient:
    """The official client's daemon. Its WireGuard runs in user space where there is no module."""

    def __init__(self, host, binary, env=None):
        self.host, self.binary = host, binary
        self.dir = host.lab.dir(f"{host.name}-netbird")
        self.address = f"unix://{self.dir}/sock"
        self.env = {"NB_STATE_DIR": self.dir, **(env or {})}
        host.private_etc()
        self.start()

    def start(self):
        self.start_without_waiting()
        wait_for(lambda: os.path.exists(f"{self.dir}/sock"), 15, "the official client's socket",
                 watch=[self.proc])

    def start_without_waiting(self):
        self.log_path = os.path.join(self.host.lab.log_dir, f"{self.host.name}-official.log")
        self.proc = self.host.start("netbird", [
            self.binary, "service", "run", "--daemon-addr", self.address, "--log-level", "info",
            "--log-file", self.log_path], env=self.env)

    def command(self, *words, ok=True, seconds=60):
        return self.host.run([self.binary, *words, "--daemon-addr", self.address], ok=ok,
                             seconds=seconds, env=self.env)

    def up(self, url, key=None):
        words = ["up", "--management-url", url, "--hostname", self.host.name]
        if key:
            words += ["--setup-key", key]
        self.command(*words)

    def down(self):
        self.command("down")

    def stop(self):
        # Two seconds are what it needs to clean up after itself.
        return self.proc.stop(4)

    def kill(self):
        self.proc.signal(signal.SIGKILL)
        self.proc.popen.wait()
        try:
            os.unlink(f"{self.dir}/sock")
        except FileNotFoundError:
            pass

    def status(self):
        """`status --json`, or None while the daemon is starting."""
        done = self.command("status", "--json", ok=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return None

    def detail(self):
        return self.command("status", "-d", ok=False).stdout

    def overlay(self, seconds=30):
        def probe():
            return ((self.status() or {}).get("netbirdIp") or "").split("/")[0]
        return wait_for(probe, seconds, f"{self.host.name}: overlay address", interval=0.1,
                        watch=[self.proc])

    def public_key(self):
        return self.status()["publicKey"]

    def peer(self, public_key):
        for peer in ((self.status() or {}).get("peers") or {}).get("details") or []:
            if peer["publicKey"] == public_key:
                return peer
        return None

    def is_p2p(self, public_key):
        peer = self.peer(public_key)
        return bool(peer and peer["status"] == "Connected" and peer["connectionType"] == "P2P")

    def wait_p2p(self, public_key, seconds=20):
        wait_for(lambda: self.is_p2p(public_key), seconds,
                 f"{self.host.name}: official status says P2P", interval=0.1, watch=[self.proc])

    def ice_connections(self, public_key):
        """How often ICE became its path to this peer: more than once means it was lost."""
        lines = lab_module.read_text(self.log_path).splitlines()
        return sum(f"[peer: {public_key}]" in line and "set ICE to active connection" in line
                   for line in lines)


def overlay_ping(host, address, count=5, seconds=20):
    """Waits for the first answered ping, then sends `count` and wants them all back."""
    wait_for(lambda: host.ping(address, 1) == 1, seconds, f"{host.name}: ping {address}")
    answered = host.ping(address, count)
    if answered != count:
        raise Failed(f"{host.name}: {count - answered} of {count} pings to {address} lost")
