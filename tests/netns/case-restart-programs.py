#!/usr/bin/env python3
"""Programs killed, the launcher killed, helper and ice away, all replaced by another build: ten pings
a second lose nothing, helper to helper (and neither end is told)."""

import os
import shutil

from restarts import (PROGRAMS, Pings, check, daemon_pids, kill, lab_module, pair_behind_nats,
                      programs_away, replaced, signal, wait_connected, wait_for)

def kill_each(a, b, pings, endpoint):
    for program in PROGRAMS:
        old = kill(a, program)
        replaced(a, program, old)
        pings.check_none_lost(f"{program} killed")
        wait_connected(a)
        check(a.direct_endpoint(b.key) == endpoint, f"{program} killed: endpoint {endpoint} is kept")


def kill_launcher(a, pings):
    old = {program: daemon_pids(a, program) for program in PROGRAMS}
    a.proc.signal(signal.SIGKILL)
    a.proc.wait(5)
    a.start()
    wait_for(lambda: all(f"taken-over program={name}" in a.proc.log() for name in PROGRAMS), 10,
             "the new launcher takes all three over", watch=[a.proc])
    pings.check_none_lost("launcher killed")
    check(old == {program: daemon_pids(a, program) for program in PROGRAMS},
          "the launcher's death ended a program")


def upgrade(a, b, pings, endpoint):
    """As a package does it: the files are replaced by rename, then each program is restarted."""
    other = os.environ.get("NBH_OTHER_BIN_DIR") or a.bin_dir
    for program in PROGRAMS:
        path = os.path.join(a.bin_dir, program)
        source = next((p for p in (os.path.join(other, program), os.path.join(other, "src", program))
                       if os.access(p, os.X_OK)), path)
        shutil.copy(source, path + ".new")
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
    for program in PROGRAMS:
        old = daemon_pids(a, program)
        for pid in old:
            os.kill(pid, signal.SIGTERM)
        replaced(a, program, old)
        wait_for(lambda: os.readlink(f"/proc/{max(daemon_pids(a, program) - old)}/exe") ==
                 os.path.join(a.bin_dir, program), 5, f"the new {program} runs")
        pings.check_none_lost(f"{program} replaced")
        wait_connected(a)
        check(a.direct_endpoint(b.key) == endpoint, f"{program} replaced: the endpoint is kept")


def main(lab):
    _, a, b = pair_behind_nats(lab)
    endpoint = a.direct_endpoint(b.key)
    pings = Pings(b.host, a.overlay())
    kill_each(a, b, pings, endpoint)
    kill_launcher(a, pings)
    programs_away(a, b, pings, ["netbird-helper"], 5)
    programs_away(a, b, pings, ["netbird-helper", "netbird-ice"], 3)
    upgrade(a, b, pings, endpoint)
    check("lost" not in b.proc.log() and "DEGRADED" not in b.proc.log(), "the far end noticed")
    pings.done()


lab_module.run(main)
