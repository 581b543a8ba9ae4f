"""Rows "memory" and "idle": one subject with no, ten and a hundred connected peers, and nothing to do.

The far ends are real: helpers with programs of their own on hosts of their own, with the subject in
their map but not each other (star-hub). Official far ends hang on an official server in groups.
"""

import os
import time

import usage
from ends import kill_helper, say
from lab import Failed, wait_for
from programs import Helper, Hub, OfficialClient, OfficialServer, find_program

STAGGER_SECONDS = 0.05  # two processors, a hundred starts
SETTLE_SECONDS = 15     # netbird-ice drops an agent ten seconds after its pair was selected
INSTANCES = "/proc/sys/fs/inotify/max_user_instances"


def find_tool(name):
    path = os.path.join(os.environ.get("NBH_BIN_DIR", "build"), "tests", "tools", name)
    if not os.access(path, os.X_OK):
        raise Failed(f"{path} is not there: make tests/tools/{name}")
    return path


class StarHub(Hub):
    def start(self):
        own, self.program = self.program, find_tool("star-hub")
        try:
            super().start()
        finally:
            self.program = own


def daemon_pids(helper):
    """helper, ice and wg: without the launcher, which the units do not need."""
    return [pid for pid in helper.pids() if pid != helper.proc.pid]


class HelperCrowd:
    """A subject behind a NAT and far ends on public addresses."""

    def __init__(self, lab, args, tls=False):
        self.lab, self.args, self.tls = lab, args, tls
        self.tag = "tls" if tls else "plain"
        self.hub = StarHub(lab.public(f"hub-{self.tag}"), tls=tls)
        self.key = self.hub.key("--reusable")
        self.env = {"SSL_CERT_FILE": self.hub.certificates.ca} if tls else {}
        self.far = []
        self.subject = Helper(lab.nat(f"nat-{self.tag}").host(f"subject-{self.tag}"))
        self.subject.start(self.hub.url, self.key, **self.env)
        wait_for(lambda: (self.subject.status() or {}).get("signal", {}).get("connected"), 15,
                 "the subject runs", watch=[self.subject.proc])

    def connected(self):
        peers = (self.subject.peers_json() or {"peers": []})["peers"]
        return sum(not peer.get("endpoint", "127.").startswith("127.") for peer in peers)

    def grow(self, count):
        while len(self.far) < count:
            host = self.lab.public(f"far-{self.tag}-{len(self.far)}")
            self.far.append(Helper(host).start(self.hub.url, self.key, **self.env))
            time.sleep(STAGGER_SECONDS)
        wait_for(lambda: self.connected() >= count, 90, f"{count} peers are connected ({self.connected()})",
                 interval=0.2, watch=[self.subject.proc])

    def memory(self, results, count):
        pids = daemon_pids(self.subject)
        tag = ("tls-" if self.tls else "") + str(count)
        results.add(f"anon-{tag}", usage.anonymous_mb(pids))
        results.add(f"pss-{tag}", usage.alone_mb(pids))

    def stop(self):
        for helper in self.far:  # all at once; kill_helper() waits for each
            helper.proc.signal(9)
        for helper in [self.subject] + self.far:
            kill_helper(helper)
        self.hub.proc.stop()


def helper_memory(lab, args, results, tls):
    crowd = HelperCrowd(lab, args, tls)
    for count in [n for n in (0, 10, 100) if n <= args.peers]:
        say(f"memory, {'TLS' if tls else 'plain'}: {count} connected peers")
        crowd.grow(count)
        time.sleep(SETTLE_SECONDS)
        crowd.memory(results, count)
    return crowd


class OfficialCrowd:
    """Official far ends; subjects: a helper and an official client with all of them, a helper and an
    official client with one each, and an official client alone."""

    def __init__(self, lab, args):
        self.lab, self.args = lab, args
        self.server = OfficialServer(lab.public("official-crowd"), args.server)
        self.server.isolate()
        subjects, far = self.star()
        say(f"idle: {args.officials} official far ends")
        self.far = [self.official(f"off-{i}", far) for i in range(args.officials)]
        self.of_n, self.helper_of_n = self.official("off-subject", subjects), self.helper("sub-n", subjects)
        key = self.server.room("one-official")
        self.of_1, self.far_1 = self.official("off-one", key), self.official("off-one-far", key)
        key = self.server.room("one-helper")
        self.helper_of_1, self.far_helper_1 = self.helper("sub-1", key), self.official("off-sub-1-far", key)
        self.alone = self.official("off-alone", self.server.room("nobody"))

    def star(self):
        """Two setup keys: subjects see far ends and far ends see subjects."""
        groups = [self.server.api("POST", "groups", {"name": name})["id"] for name in ("subjects", "far")]
        self.server.api("POST", "policies", {"name": "star", "enabled": True, "rules": [{
            "name": "star", "enabled": True, "action": "accept", "bidirectional": True,
            "protocol": "all", "sources": groups[:1], "destinations": groups[1:]}]})
        return [self.server.key([group]) for group in groups]

    def official(self, name, key):
        client = OfficialClient(self.lab.public(name), self.args.netbird)
        client.up(self.server.url, key)
        return client

    def helper(self, name, key):
        helper = Helper(self.lab.public(name))
        helper.start(self.server.url, key)
        helper.overlay()
        return helper

    def connect(self):
        """Official clients sleep until there is traffic."""
        pairs = [(subject, far) for subject in (self.of_n, self.helper_of_n) for far in self.far]
        pairs += [(self.of_1, self.far_1), (self.helper_of_1, self.far_helper_1)]
        addresses = {far: (far.overlay(), far.public_key()) for _, far in pairs}
        for subject, far in pairs:
            address, key = addresses[far]
            wait_for(lambda s=subject, a=address: s.host.ping(a, 1, seconds=10) == 1, 30,
                     f"{subject.host.name} reaches {far.host.name}")
            if isinstance(subject, Helper):
                subject.wait_direct(key, 30)
            else:
                subject.wait_p2p(key, 40)

    def memory(self, results):
        for tag, client in (("0", self.alone), (str(self.args.officials), self.of_n)):
            # TLS or not, as it was measured: the official server has none of its own.
            results.add_official(f"anon-{tag}", usage.anonymous_mb([client.proc.pid]))
            results.add_official(f"pss-{tag}", usage.alone_mb([client.proc.pid]))

    def stop(self):
        for helper in (self.helper_of_1, self.helper_of_n):
            kill_helper(helper)
        for client in self.far + [self.of_n, self.of_1, self.far_1, self.far_helper_1, self.alone]:
            client.kill()
        self.server.proc.stop()


class Meter:
    """CPU and wake-ups of some processes per peer and minute, from here to there."""

    def __init__(self, pids, peers):
        self.pids, self.peers = pids, peers
        self.before = time.monotonic(), usage.cpu_ms(pids), usage.wakeups(pids)

    def read(self):
        minutes = (time.monotonic() - self.before[0]) / 60 * self.peers
        return ((usage.cpu_ms(self.pids) - self.before[1]) / minutes,
                (usage.wakeups(self.pids) - self.before[2]) / minutes)


def official_meters(crowd):
    n = len(crowd.far)
    return {"ours-1": Meter(daemon_pids(crowd.helper_of_1), 1),
            "ours-n": Meter(daemon_pids(crowd.helper_of_n), n),
            "official-1": Meter([crowd.of_1.proc.pid], 1),
            "official-n": Meter([crowd.of_n.proc.pid], n)}


def add_official(results, meters):
    figures = {name: meter.read() for name, meter in meters.items()}
    results.add("cpu-official-1", figures["ours-1"][0])
    results.add("cpu-official-n", figures["ours-n"][0])
    results.add("wake-official", figures["ours-n"][1])
    results.add_official("cpu-official-1", figures["official-1"][0])
    for key in ("cpu-official-n", "cpu-helper"):
        results.add_official(key, figures["official-n"][0])
    for key in ("wake-official", "wake-helper"):
        results.add_official(key, figures["official-n"][1])


def measure_idle(args, results, crowd, officials):
    """All subjects in one window."""
    n = len(crowd.far)
    servers = [crowd.hub.address]
    counters = {"ours": usage.Counter(crowd.subject.host, servers)}
    if officials:
        counters["official"] = usage.Counter(officials.of_n.host, [officials.server.host.v4])
    time.sleep(SETTLE_SECONDS)
    say(f"idle: {args.window} s of it")
    meter = Meter(daemon_pids(crowd.subject), n)
    meters = official_meters(officials) if officials else {}
    before = {name: counter.read() for name, counter in counters.items()}
    began = time.monotonic()
    time.sleep(args.window)  # the measurement itself, not a wait for something
    minutes = (time.monotonic() - began) / 60
    after = {name: counter.read() for name, counter in counters.items()}
    cpu, wakeups = meter.read()
    results.add("cpu-helper", cpu)
    results.add("wake-helper", wakeups)
    if meters:
        add_official(results, meters)
    for name, add, peers in (("ours", results.add, n), ("official", results.add_official, args.officials)):
        if name in after:
            packets, octets = (a - b for a, b in zip(after[name], before[name]))
            add("packets", packets / peers / minutes)
            add("bytes", octets / peers / minutes / 1000)


def raise_instances(peers):
    """Every far end needs an inotify instance or two, and all of them belong to the same users.
    Returns what puts the limit back: the only thing outside of the lab that is touched."""
    with open(INSTANCES, encoding="ascii") as file:
        old = file.read()

    def put(text):
        with open(INSTANCES, "w", encoding="ascii") as file:
            file.write(text)
    if int(old) >= 4 * peers:
        return lambda: None
    put(str(10 * peers))
    return lambda: put(old)


def measure(lab, args, results):
    find_program("netbird-helper")
    put_back = raise_instances(args.peers)
    crowds = []
    try:
        crowds.append(helper_memory(lab, args, results, tls=False))
        officials = None
        if args.netbird:
            officials = OfficialCrowd(lab, args)
            crowds.append(officials)
            officials.connect()
            time.sleep(SETTLE_SECONDS)
            officials.memory(results)
        if "idle" in args.only:
            measure_idle(args, results, crowds[0], officials)
        while crowds:
            crowds.pop().stop()
        if "memory" in args.only:
            crowds.append(helper_memory(lab, args, results, tls=True))
    finally:
        for crowd in crowds:
            crowd.stop()
        put_back()
