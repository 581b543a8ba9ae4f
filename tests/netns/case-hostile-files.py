#!/usr/bin/env python3
"""What somebody may have put into the config directory: links, FIFOs, directories, huge files, files of
others. Nobody follows them, root gives nothing away, nothing is lost behind them, nothing hangs, and
what stands in the way is named."""

import json
import os
import re
import shutil
import signal
import stat

from direct import Helper, check, lab_module, wait_for
from restarts import Pings, Hub, connect, overlay_ping

STRANGER = 61999
# Every name that our programs read or write, with its temporary one where there is one.
WRITTEN = ["device.json", "peers.json", "status.json", "netmap.cache", "wg/status.json", "wg/applied.json",
           "ice/sessions"]
TEMPS = [os.path.join(os.path.dirname(name), f".{os.path.basename(name)}.tmp")
         for name in WRITTEN + ["config.json", ".private.key.new"]] + [".private.key.new"]
LOCKS = {".lock-helper": "netbird-helper", ".lock-launcher": "launcher", "wg/lock": "netbird-wg",
         "ice/lock": "netbird-ice"}
SECRET = "what nobody may touch\n"


class Victim:
    """A file of root elsewhere, to which the names lead."""

    def __init__(self, lab):
        self.path = os.path.join(lab.dir("elsewhere"), "victim")
        with open(self.path, "w", encoding="ascii") as file:
            file.write(SECRET)
        os.chmod(self.path, 0o600)

    def check(self, what):
        st = os.stat(self.path)
        with open(self.path, encoding="ascii") as file:
            check(file.read() == SECRET, f"{what}: the content of the file behind is lost")
        check((st.st_uid, st.st_gid, st.st_mode & 0o7777) == (0, 0, 0o600), f"{what}: given away: {st}")
        check(not os.path.exists(self.path + "-new"), f"{what}: a file was made behind a dangling link")


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def written(helper, name):
    """The JSON in a file that one of our programs has written; None: something else is there."""
    path = os.path.join(helper.dir, name)
    try:
        st = os.lstat(path)
        if not stat.S_ISREG(st.st_mode) or st.st_nlink > 1 or st.st_size > 1000000:
            return None
        return json.loads(lab_module.read_text(path))
    except (FileNotFoundError, ValueError):
        return None


def is_connected(helper):
    return (written(helper, "status.json") or {}).get("daemonStatus") == "Connected"


def has_peer(helper, key):
    return any(peer["publicKey"] == key for peer in (written(helper, "peers.json") or {}).get("peers", []))


def fifo(path):
    """Whoever opens it for reading or writing alone waits for ever."""
    os.mkfifo(path)
    os.chmod(path, 0o666)


def huge(path):
    with open(path, "wb") as file:
        file.truncate(40 * 1024 * 1024)


def strangers(path):
    with open(path, "w", encoding="ascii") as file:
        file.write("{}")
    os.chown(path, STRANGER, STRANGER)


def kinds(victim):
    return {
        "symlink": lambda path: os.symlink(victim.path, path),
        "dangling symlink": lambda path: os.symlink(victim.path + "-new", path),
        "hard link": lambda path: os.link(victim.path, path),
        "FIFO": fifo,
        "huge file": huge,
        "stranger's file": strangers,
        "directory": os.mkdir,
    }


def put(helper, names, how):
    for name in names:
        path = os.path.join(helper.dir, name)
        remove(path)
        how(path)


def commands(helper, what):
    """None of them hangs: run() would fail after 20 s."""
    for words in (["status"], ["status", "--json"]):
        helper.command(*words, ok=False, seconds=20)
    done = helper.command("status", "--detail", ok=False, seconds=20)
    check("nbh_" not in done.stderr and "CRITICAL" not in done.stderr, f"{what}: {done.stderr}")


def check_written(a, b, victim, pings):
    """Whatever is in the place of files that can be made again: they are made again."""
    for kind, how in kinds(victim).items():
        for names in (WRITTEN, TEMPS):
            what = f"{kind} for {'files' if names is WRITTEN else 'temporary files'}"
            a.stop(signal.SIGTERM)
            put(a, names, how)
            commands(a, what)
            logged = len(a.proc.log())
            a.start()
            if kind == "directory":
                wait_for(lambda: re.search(r"peers.json.*Is a directory; remove it", a.proc.log()[logged:]), 20,
                         f"{what}: it is named", watch=[a.proc])
                commands(a, what)
                a.stop(signal.SIGTERM)
                put(a, names, lambda path: None)
                a.start()
            wait_for(lambda: is_connected(a), 30, f"{what}: connected",
                     watch=[a.proc])
            wait_for(lambda: has_peer(a, b.key), 20, f"{what}: peers.json is there", watch=[a.proc])
            victim.check(what)
            for name in TEMPS:
                remove(os.path.join(a.dir, name))
            pings.more()
            print(f"{what}: {len(pings.lost())} of {max(pings.answered())} pings lost so far", flush=True)


def check_locks(a, victim):
    """A lock is written to, and by root given away: it must be a file of its own."""
    for kind, how in kinds(victim).items():
        if kind in ("huge file",):
            continue
        for name, program in LOCKS.items():
            path = os.path.join(a.dir, name)
            remove(path)
            how(path)
            logged = len(a.proc.log())
            a.start()
            wait_for(lambda: f"{os.path.basename(name)}: " in a.proc.log()[logged:] and
                     "remove" in a.proc.log()[logged:], 20, f"{kind} for {name}: {program} names it")
            victim.check(f"{kind} for {name}")
            commands(a, f"{kind} for {name}")
            a.proc.signal(signal.SIGTERM)
            a.proc.wait(20)
            remove(path)
            print(f"{kind} for {name}: named", flush=True)


def check_kept(a, victim):
    """config.json and private.key are never made again: named, and nothing runs with what is there."""
    for name in ("config.json", "private.key"):
        path = os.path.join(a.dir, name)
        os.rename(path, path + ".good")
        for kind, how in kinds(victim).items():
            how(path)
            done = a.command("login", "--management-url", "http://203.0.113.1:8080", ok=False)
            check(done.returncode in (77, 78) and f"{name}: " in done.stderr,
                  f"{kind} for {name}: {done.returncode} {done.stderr}")
            commands(a, f"{kind} for {name}")
            victim.check(f"{kind} for {name}")
            remove(path)
        os.rename(path + ".good", path)
        print(f"{name}: each is named", flush=True)


def check_down(a, victim):
    """The marker of `down`, and a directory where everybody may write."""
    path = os.path.join(a.dir, "down")
    for kind in ("symlink", "dangling symlink", "FIFO", "directory"):
        kinds(victim)[kind](path)
        done = a.command("down", ok=False, seconds=20)
        check(done.returncode != 0 and "down: not a regular file; remove it" in done.stderr,
              f"down as {kind}: {done.returncode} {done.stderr}")
        victim.check(f"down as {kind}")
        remove(path)
    os.chmod(a.dir, 0o777)
    done = a.command("status", ok=False, seconds=20)
    check("lets everybody write; run chmod o-w" in done.stderr, f"status: {done.stderr}")
    done = a.host.run(["setpriv", "--reuid", "61901", "--regid", "61904", "--clear-groups", a.program, "run",
                       "--config-dir", a.dir], ok=False, seconds=20)
    check(done.returncode in (77, 78) and "lets everybody write; run chmod o-w" in done.stderr,
          f"run: {done.returncode} {done.stderr}")


def check_leaks(a, setup_key):
    """Secrets are in no file that others may read, in no argument list, and in no log however chatty."""
    with open(os.path.join(a.dir, "private.key"), encoding="ascii") as file:
        secrets = [file.read().strip(), setup_key]
    sessions = lab_module.read_text(os.path.join(a.dir, "ice", "sessions"))
    secrets += [line.split(" ")[3] for line in sessions.splitlines() if line.startswith(("OPEN", "REMOTE"))]
    check(len(secrets) > 3, "there are no ICE sessions to look at")
    for top, _, names in os.walk(a.dir):
        for name in names:
            path = os.path.join(top, name)
            mode = os.lstat(path).st_mode
            if not stat.S_ISREG(mode) or not mode & 0o004:
                continue
            text = lab_module.read_text(path)
            check(not any(secret in text for secret in secrets), f"{path} (mode {mode & 0o7777:o}) has a secret")
    for pid in a.pids():
        words = lab_module.read_text(f"/proc/{pid}/cmdline")
        check(not any(secret in words for secret in secrets), f"a secret in the arguments of {pid}")
    check(not any(secret in a.proc.log() for secret in secrets), "a secret in the log")


def main(lab):
    victim = Victim(lab)
    hub = Hub(lab.public("hub"))
    a, b = connect(hub, lab.public("a"), lab.public("b"), NB_LOG_LEVEL="debug")
    overlay_ping(a.host, b.overlay())
    with open(a.env["NB_SETUP_KEY_FILE"], encoding="ascii") as file:
        check_leaks(a, file.read().strip())
    pings = Pings(b.host, a.overlay())
    check_written(a, b, victim, pings)
    a.stop(signal.SIGTERM)
    check_locks(a, victim)
    check_kept(a, victim)
    check_down(a, victim)
    os.chmod(a.dir, 0o2751)
    a.start()
    wait_for(lambda: is_connected(a), 30, "connected at last", watch=[a.proc])
    check(a.public_key() == a.key, "the same key as before")
    check(isinstance(b, Helper) and b.proc.poll() is None, "b goes on")


lab_module.run(main)
