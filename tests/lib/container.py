#!/usr/bin/env python3
"""Runs a program as root of a container has it: docker's default capabilities with NET_ADMIN, and
docker's default seccomp profile in what it refuses: namespaces, mounts. There is no SYS_ADMIN.

    container.py [--without CAPABILITY]... PROGRAM [ARGUMENT]...
"""

import ctypes
import os
import platform
import struct
import sys

DEFAULT = ("chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap "
           "net_bind_service sys_chroot kill audit_write net_admin").split()
# unshare setns mount umount2 pivot_root clone clone3
NUMBERS = {"x86_64": ((272, 308, 165, 166, 155), 56, 435), "aarch64": ((97, 268, 40, 39, 41), 220, 435)}
NEW_NAMESPACE = 0x7e020000
ALLOW, ERRNO = 0x7fff0000, 0x00050000
EPERM, ENOSYS = 1, 38
LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
PR_SET_SECCOMP, MODE_FILTER = 22, 2


def instructions():
    refused, clone, clone3 = NUMBERS[platform.machine()]
    code = [(LOAD, 0, 0, 0)]
    for number in refused:
        code += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | EPERM)]
    code += [(JUMP_EQUAL, 0, 1, clone3), (RETURN, 0, 0, ERRNO | ENOSYS)]
    code += [(JUMP_EQUAL, 0, 4, clone), (LOAD, 0, 0, 16), (JUMP_SET, 0, 1, NEW_NAMESPACE),
             (RETURN, 0, 0, ERRNO | EPERM), (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def refuse_namespaces():
    code = instructions()
    buf = ctypes.create_string_buffer(code, len(code))
    prog = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buf))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, prog, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def main(words):
    keep = list(DEFAULT)
    while words and words[0] == "--without":
        keep.remove(words[1])
        words = words[2:]
    refuse_namespaces()
    caps = "-all" + "".join(f",+{name}" for name in keep)
    os.execvp("setpriv", ["setpriv", f"--bounding-set={caps}", "--inh-caps=-all", *words])


if __name__ == "__main__":
    main(sys.argv[1:])
