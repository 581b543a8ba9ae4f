#!/usr/bin/env python3
"""What each running program may do and knows, as /proc shows it: users, capabilities, namespaces,
seccomp, descriptors; where the private key is, and that no crash writes it anywhere."""

import os
import re
import signal

from direct import Hub, check, connect, lab_module, overlay_ping, wait_for

import procfs

HELPER, ICE, WG = "netbird-helper", "netbird-ice", "netbird-wg"
USERS = {HELPER: (61901, 61904, {61902}), ICE: (61902, 61902, set()), WG: (61903, 61904, set())}


def equal(got, wanted, what):
    check(got == wanted, f"{what}: {got}, not {wanted}")


def pids_of(helper):
    """{program: pid}, without the launcher, which has the helper's name, too."""
    return {name: pid for pid, name in helper.pids().items() if pid != helper.proc.pid}


def identity_of(name, pid):
    fields = procfs.status(pid)
    uid, gid, groups = USERS[name]
    equal(fields["Uid"].split(), [str(uid)] * 4, f"{name}: user")
    equal(fields["Gid"].split(), [str(gid)] * 4, f"{name}: group")
    equal({int(g) for g in fields["Groups"].split()} - {gid}, groups, f"{name}: groups")


def is_sanitized(pid):
    """Its leak check traces the process itself, so it must stay dumpable."""
    return "libasan" in procfs.text(pid, "maps")


def check_confined(name, pid, mask, bounding=None):
    """Every thread of it."""
    wanted = {**procfs.all_caps(0), "Prm": mask, "Eff": mask, "Bnd": mask if bounding is None else bounding}
    for thread in procfs.threads(pid):
        equal(procfs.caps(thread), wanted, f"{name}: capabilities")
        fields = procfs.status(thread)
        equal(fields["NoNewPrivs"].strip(), "1", f"{name}: no_new_privs")
        equal(fields["Seccomp"].strip(), "2", f"{name}: seccomp")
    check(max(procfs.core_limit(pid)) <= 1, f"{name}: core limit {procfs.core_limit(pid)}")
    if not is_sanitized(pid):
        check(not procfs.is_dumpable(pid), f"{name}: it may be dumped and traced")


def check_namespaces(helper, pids):
    outside = procfs.namespaces(helper.proc.pid)
    equal(procfs.namespaces(pids[HELPER]), outside, f"{HELPER}: namespaces")
    own = {n for n, link in procfs.namespaces(pids[WG]).items() if link != outside[n]}
    check(own <= {"mnt"}, f"{WG}: namespaces of its own: {own}")
    own = {n for n, link in procfs.namespaces(pids[ICE]).items() if link != outside[n]}
    equal(own, {"net"}, f"{ICE}: namespaces of its own, by a root launcher")


def check_descriptors(helper, pids):
    """Files by name, devices; what is a socket, pipe or anonymous inode is said by kind alone."""
    allowed = {
        HELPER: {"/dev/null", helper.dir, f"{helper.dir}/wg", f"{helper.dir}/.lock-helper",
                 "/proc/sys/kernel/hostname"},
        ICE: {"/dev/null", f"{helper.dir}/ice", f"{helper.dir}/ice/lock", f"{helper.dir}/ice/sessions",
              "/dev/net/tun"},
        WG: {"/dev/null", helper.dir, f"{helper.dir}/wg", f"{helper.dir}/wg/lock"},
    }
    anonymous = {"socket", "anon_inode:inotify", "anon_inode:[eventfd]", "anon_inode:[signalfd]",
                 "anon_inode:[eventpoll]", "anon_inode:[timerfd]"}
    for name, pid in pids.items():
        found = procfs.descriptors(pid)
        equal([found.get(n) for n in (0, 1, 2)], ["/dev/null", helper.proc.log_path, helper.proc.log_path],
              f"{name}: standard descriptors")
        others = {what for n, what in found.items() if n > 2}
        check(others <= allowed[name] | anonymous, f"{name}: descriptors {others - allowed[name] - anonymous}")
        print(f"{name}: {len(found)} descriptors: {sorted(others)}")
    # Of the host's network: what was opened before the namespaces, and nothing else.
    kinds = procfs.socket_types(pids[HELPER])
    mine = {os.readlink(f"/proc/{pids[ICE]}/fd/{n}")[8:-1]
            for n, what in procfs.descriptors(pids[ICE]).items() if what == "socket"}
    outside = {kinds[inode] for inode in mine if inode in kinds}
    check(outside <= {"raw", "raw6", "udp", "udp6"}, f"{ICE}: sockets of the host's network: {outside}")
    check({"raw"} <= outside, f"{ICE}: the raw socket is not seen, so nothing is: {outside}")
    for name in (HELPER, WG):
        mine = {os.readlink(f"/proc/{pids[name]}/fd/{n}")[8:-1]
                for n, what in procfs.descriptors(pids[name]).items() if what == "socket"}
        used = {kinds[inode] for inode in mine if inode in kinds}
        check(not used & {"raw", "raw6", "packet"}, f"{name}: raw sockets: {used}")
        check(name != WG or not used, f"{WG}: sockets of the Internet: {used}")


def all_files(directory):
    for folder, _, names in os.walk(directory):
        yield from (os.path.join(folder, name) for name in names)


def check_secrets(lab, helper, pids):
    """The key is in the helper's memory and in private.key. So the search does find it."""
    with open(os.path.join(helper.dir, "private.key"), encoding="ascii") as file:
        key = file.read().strip()
    forms = procfs.forms_of_key(key)
    check(procfs.memory_has(pids[HELPER], forms), "the search does not find the key where it is")
    for name in (ICE, WG):
        if name == WG and is_sanitized(pids[name]):
            continue  # freed memory is kept, to find its use; only netbird-ice never had the key
        check(not procfs.memory_has(pids[name], forms), f"{name}: the private key is in its memory")
    with open(helper.env["NB_SETUP_KEY_FILE"], encoding="ascii") as file:
        setup_key = file.read().strip().encode()
    for name in (HELPER, ICE, WG):
        check(not procfs.memory_has(pids[name], [setup_key]), f"{name}: the setup key is in its memory")
    for name, pid in {**pids, "launcher": helper.proc.pid}.items():
        for where in ("cmdline", "environ"):
            data = procfs.text(pid, where).encode()
            check(not any(form in data for form in forms + [setup_key]), f"{name}: a key in its {where}")
    for path in [*all_files(helper.dir), *all_files(lab.log_dir)]:
        if os.path.basename(path) == "private.key" or not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            data = file.read()
        check(not any(form in data for form in forms + [setup_key]), f"a key in {path}")


def crash(helper, name, number):
    """However core_pattern is set, the kernel tells the parent whether it dumped (wait(2))."""
    pid = pids_of(helper)[name]
    where = os.readlink(f"/proc/{pid}/cwd")
    before = set(os.listdir(where))
    os.kill(pid, number)
    line = wait_for(lambda: re.search(rf"ended program={name} pid={pid} .*", helper.proc.log()), 10,
                    f"{name} ended", watch=[helper.proc])[0]
    check(f"signal={int(number)} core=0" in line, f"{name}: {line}")
    check(not any("core" in file for file in set(os.listdir(where)) - before), f"{name}: a core in {where}")
    wait_for(lambda: pids_of(helper).get(name) not in (None, pid), 10, f"{name} is started again")


def wireguard_go(host):
    """In user space: it holds the key, and must be as closed as netbird-wg was."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{entry}/exe").endswith("/wireguard-go") and \
                    os.readlink(f"/proc/{entry}/ns/net") == os.readlink(f"/proc/{host.pid}/ns/net"):
                return int(entry)
        except FileNotFoundError:
            pass
    return None


def check_by_hand(lab, host):
    """As a unit does it: own user, ambient CAP_NET_RAW, /dev/net/tun for everybody."""
    host.shell("mount -t tmpfs none /dev/net && mknod -m 0666 /dev/net/tun c 10 200")
    directory = lab.dir("by-hand")
    os.mkdir(f"{directory}/ice", 0o750)
    os.chown(f"{directory}/ice", 61902, 61902)
    proc = host.start("ice-by-hand", [
        "setpriv", "--reuid=61902", "--regid=61902", "--clear-groups", "--inh-caps=-all,+net_raw",
        "--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw",
        "/run/nbh/netbird-ice", "--config-dir", directory])
    wait_for(lambda: "started backend=user-namespace" in proc.log(), 10, "a user namespace", watch=[proc])
    pid = proc.pid
    identity_of(ICE, pid)
    check_confined(ICE, pid, 0)
    own = {n for n, link in procfs.namespaces(pid).items() if link != procfs.namespaces(host.pid)[n]}
    equal(own, {"net", "user"}, f"{ICE} by hand: namespaces of its own")
    check(proc.stop() == 0, "SIGTERM: exit code 0")


def main(lab):
    hub = Hub(lab.public("hub"))
    a, b = connect(hub, lab.public("a"), lab.public("b"))
    overlay_ping(a.host, b.overlay())
    pids = pids_of(a)
    equal(set(pids), set(USERS), "programs that run")
    for name, pid in pids.items():
        identity_of(name, pid)
    check_confined(HELPER, pids[HELPER], 0)
    check_confined(ICE, pids[ICE], 0)
    check_confined(WG, pids[WG], procfs.NET_ADMIN)
    check_namespaces(a, pids)
    check_descriptors(a, pids)
    check_secrets(lab, a, pids)
    daemon = wireguard_go(a.host)
    if daemon:
        equal(procfs.caps(daemon), procfs.all_caps(procfs.NET_ADMIN), "wireguard-go: capabilities")
        equal(procfs.status(daemon)["Seccomp"].strip(), "2", "wireguard-go: seccomp")
        check(max(procfs.core_limit(daemon)) <= 1, f"wireguard-go: core limit {procfs.core_limit(daemon)}")
    status = a.status()
    equal(status["seccomp"], {"helper": True, "ice": True, "wg": True}, "status.json: seccomp")
    text = a.command("status").stdout
    check("System calls: filtered in netbird-helper, netbird-ice, netbird-wg\n" in text, f"status: {text}")
    crashes = () if is_sanitized(pids[HELPER]) else ((HELPER, signal.SIGSEGV), (ICE, signal.SIGABRT), (WG, signal.SIGSEGV))
    for name, number in crashes:
        crash(a, name, number)
    overlay_ping(a.host, b.overlay())
    check_by_hand(lab, lab.public("c"))


lab_module.run(main)
