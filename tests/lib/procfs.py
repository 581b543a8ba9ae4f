"""What /proc says about a running program: users, capabilities, namespaces, descriptors, memory.

As root; nothing here asks the program itself.
"""

import base64
import os

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
CAP_SETS = ("Inh", "Prm", "Eff", "Bnd", "Amb")
SPAN_MAX = 1 << 28  # larger are the shadows of sanitizers
NAMESPACES = ("user", "net", "mnt", "pid", "ipc", "uts", "cgroup")


def text(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read().decode(errors="replace")


def status(pid):
    return dict(line.split(":\t", 1) for line in text(pid, "status").splitlines() if ":\t" in line)


def caps(pid):
    fields = status(pid)
    return {name: int(fields["Cap" + name], 16) for name in CAP_SETS}


def all_caps(mask):
    return dict.fromkeys(CAP_SETS, mask)


def namespaces(pid):
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES}


def threads(pid):
    return [int(entry) for entry in os.listdir(f"/proc/{pid}/task")]


def descriptors(pid):
    """{number: what it is}: "socket", "anon_inode:[eventpoll]" or a path."""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue
        found[int(entry)] = link.split(":")[0] if link.startswith(("socket:", "pipe:")) else link
    return found


def socket_types(pid):
    """Of sockets in the namespace of the process: inode -> kind, from /proc/PID/net."""
    kinds = {}
    for table in ("udp", "udp6", "raw", "raw6", "tcp", "tcp6", "packet"):
        try:
            lines = text(pid, f"net/{table}").splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            kinds[line.split()[-4 if table != "packet" else -1]] = table
    return kinds


def core_limit(pid):
    """Soft and hard limit of a core file in bytes; 1 is none, and no pipe either (core(5))."""
    for line in text(pid, "limits").splitlines():
        if line.startswith("Max core file size"):
            soft, hard = line.split()[4:6]
            return tuple(1 << 62 if value == "unlimited" else int(value) for value in (soft, hard))
    raise AssertionError("no such line in /proc/PID/limits")


def is_dumpable(pid):
    """The kernel gives the files below /proc/PID to root where there may be no dump: proc(5)."""
    return os.stat(f"/proc/{pid}/environ").st_uid == int(status(pid)["Uid"].split()[1])


def memory_has(pid, needles):
    """Those of the byte strings that are in the memory of the process."""
    found, longest = set(), max(map(len, needles))
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in text(pid, "maps").splitlines():
            span, mode = line.split()[:2]
            begin, end = (int(part, 16) for part in span.split("-"))
            if end - begin > SPAN_MAX or mode[0] != "r" or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            tail, at = b"", begin
            while at < end:
                try:
                    mem.seek(at)
                    piece = mem.read(min(1 << 20, end - at))
                except OSError:
                    break  # a device's pages, or freed meanwhile
                if not piece:
                    break
                found |= {needle for needle in needles if needle in tail + piece}
                tail, at = piece[-longest:], at + len(piece)
    return found


def forms_of_key(key_text):
    """A WireGuard key as it may turn up: base64, raw, hexadecimal."""
    raw = base64.b64decode(key_text)
    return [key_text.encode(), raw, raw.hex().encode(), raw.hex().upper().encode()]
