#!/usr/bin/env python3
"""SIGHUP: config.json again, under ten pings a second that all have to be answered.

Log level, host name, proxy, CA file and management URL are taken at once; the listening port is not,
and said so; a file with a mistake changes nothing. The launcher passes the signal on."""

import json
import os

from restarts import (Helper, Hub, Pings, check, daemon_pids, lab_module, overlay_ping,
                      programs_pids, signal, wait_connected, wait_for)

PROXY = os.path.join(os.path.dirname(os.path.realpath(__file__)), "connectproxy.py")


def write_config(helper, **changes):
    """As an editor does; a value of None removes the key."""
    path = os.path.join(helper.dir, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file) | changes
    config = {key: value for key, value in config.items() if value is not None}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)


def reload(helper, wanted):
    """SIGHUP to the launcher; waits for one more line with `wanted` in the log."""
    before = helper.proc.log().count(wanted)
    helper.proc.signal(signal.SIGHUP)
    wait_for(lambda: helper.proc.log().count(wanted) > before, 10, f"the log says {wanted}",
             watch=[helper.proc])


def start_from_config(hub, host, key):
    """Without NB_ variables, which would take precedence."""
    helper = Helper(host)
    helper.command("login", "--management-url", hub.url, "--setup-key-file", helper.key_file(key),
                   env=helper.environment(hub.url, None, NB_MANAGEMENT_URL=""))
    helper.start()
    helper.overlay()
    helper.key = helper.public_key()
    return helper


def reconnected(helper, reload_line, url):
    """Both connections are new since the last such line in the log."""
    text = helper.proc.log().rsplit(reload_line, 1)[1]
    return f"management-up url={url}" in text and "signal-up" in text


def notes(helper):
    return [note for note in (helper.status() or {}).get("notes", []) if "config.json" in note]


def live(lab, hub, a):
    proxy_host = lab.public("proxy")
    proxy = proxy_host.start("proxy", ["python3", PROXY, "3128"])
    wait_for(lambda: "listening" in proxy.log(), 10, "the proxy listens", watch=[proxy])
    reload(a, 'config-read-again changed=""')

    write_config(a, logLevel="debug", hostname="renamed")
    reload(a, 'config-read-again changed="hostname, logLevel"')
    wait_for(lambda: "renamed" in hub.command("peer", "list", "--json").stdout, 10,
             "the hub shows the new host name")
    check(" debug " not in a.proc.log(), "debug messages came before")
    write_config(a, interfaceBlacklist=["nbh", "wg"])
    reload(a, 'config-read-again changed="interfaceBlacklist"')
    wait_for(lambda: "debug ice: candidates hosts" in a.proc.log(), 10, "candidates are made anew, at debug level")
    write_config(a, logLevel=None)
    reload(a, 'config-read-again changed="logLevel"')

    write_config(a, proxy=f"http://{proxy_host.v4}:3128")
    reload(a, 'config-read-again changed="proxy"')
    wait_for(lambda: proxy.log().count("CONNECT") >= 2, 10, "both connections go through the proxy")
    wait_for(lambda: reconnected(a, 'changed="proxy"', hub.url), 10, "connected through the proxy")

    # The same hub under another address.
    hub.host.run(["ip", "addr", "add", "203.0.113.240/24", "dev", "eth0"])
    url = f"http://203.0.113.240:{hub.port}"
    write_config(a, proxy=None, managementUrl=url)
    reload(a, 'config-read-again changed="managementUrl, proxy"')
    wait_for(lambda: reconnected(a, 'changed="managementUrl, proxy"', url), 10,
             "connected to the other URL")
    check(proxy.log().count("CONNECT") == 2, f"the proxy is still used: {proxy.log()}")


def waiting(a):
    write_config(a, listenPort=40000)
    reload(a, 'config-needs-restart changed="listenPort"')
    wait_for(lambda: notes(a) == ["config.json: listenPort changed; in use when netbird-helper is "
                                  "started again"], 10, f"status says so, not {notes(a)}")
    check(a.device()["listenPort"] == 51820, "the port is another one already")
    check("listenPort changed" in a.command("status").stdout, "`status` does not show it")
    write_config(a, listenPort=51820)
    reload(a, 'config-read-again changed=""')
    wait_for(lambda: not notes(a), 10, "the note is gone")


def refused(a, url):
    for changes, text in (({"mtu": "big"}, "config.json: mtu: "),
                          ({"mtu": 1400, "caFile": "/nowhere/ca.pem"}, "config.json: caFile: /nowhere/ca.pem: No such file"),
                          ({"caFile": None, "managementUrl": "https://:1"}, "config.json: managementUrl: ")):
        write_config(a, **changes)
        reload(a, f'config-refused error="{text}')
        wait_for(lambda: notes(a) and notes(a)[0].startswith(text), 10, "status says so")
    check(a.device()["mtu"] == 1280, "half of a bad file is in use")
    write_config(a, managementUrl=url)
    reload(a, 'config-read-again changed="mtu"')
    wait_for(lambda: a.device()["mtu"] == 1400 and not notes(a), 10, "a good file is used again")
    wait_for(lambda: "mtu 1400" in a.host.run(["ip", "link", "show", "nbh0"]).stdout, 10,
             "the interface has the new MTU")


def main(lab):
    hub = Hub(lab.public("hub"))
    key = hub.key("--reusable")
    a, b = [start_from_config(hub, lab.nat(f"nat-{x}").host(x), key) for x in "ab"]
    a.wait_direct(b.key)
    b.wait_direct(a.key)
    overlay_ping(a.host, b.overlay())
    wait_connected(a)
    pids, endpoint = programs_pids(a), a.direct_endpoint(b.key)
    pings = Pings(a.host, b.overlay())

    live(lab, hub, a)
    waiting(a)
    refused(a, f"http://203.0.113.240:{hub.port}")

    # The hub has nothing to read again, and goes on.
    hub.proc.signal(signal.SIGHUP)
    wait_for(lambda: "SIGHUP" in hub.proc.log() or "hangup" in hub.proc.log(), 10,
             "the hub says something about it", watch=[hub.proc])
    pings.check_none_lost("a dozen SIGHUPs")
    check(a.direct_endpoint(b.key) == endpoint, "the endpoint is another one")
    check(programs_pids(a) == pids, "a program was started again")
    check(daemon_pids(a, "netbird-helper"), "the helper does not run")
    pings.done()


lab_module.run(main)
