#!/usr/bin/env python3
"""The hub behind nginx with TLS: management and signal pass through grpc_pass, which holds the headers of
ConnectStream back until there is a message (interop.md rule 15). The tunnel comes up, outlives nginx, and the servers come back.
"""

import os
import shutil

from direct import Hub, check, connect, lab_module, overlay_ping, wait_for
from programs import Certificates

PORT = 443

CONFIG = """
daemon off;
user root;
worker_processes 1;
pid {dir}/pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log {dir}/access.log;
    client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3;
    uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
    server {{
        listen {port} ssl http2;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        # Streams that live for days, in both directions.
        client_body_timeout 1d;
        grpc_read_timeout 1d;
        grpc_send_timeout 1d;
        location / {{ grpc_pass grpc://127.0.0.1:8080; }}
    }}
}}
"""


class HubBehindNginx(Hub):
    """It serves plain gRPC beside nginx, whose address is what clients get."""

    def start(self):
        self.url = f"https://{self.address}:{PORT}"
        super().start()


class Nginx:
    def __init__(self, host):
        self.host, self.dir = host, host.lab.dir("nginx")
        self.certificates = Certificates(host.lab.dir("nginx-certificates"))
        self.certificates.make("nginx", f"IP:{host.v4}")
        with open(f"{self.dir}/nginx.conf", "w", encoding="ascii") as file:
            file.write(CONFIG.format(dir=self.dir, port=PORT, cert=self.certificates.file("nginx.pem"),
                                     key=self.certificates.file("nginx.key")))
        self.start()

    def start(self):
        self.proc = self.host.start("nginx", ["nginx", "-c", f"{self.dir}/nginx.conf", "-p", self.dir])
        probe = ["python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {PORT}), 1)"]
        wait_for(lambda: self.host.run(probe, ok=False).returncode == 0, 10, "nginx listens", watch=[self.proc])


def check_up(helper, url):
    def probe():
        status = helper.status()
        return all(status[name]["connected"] and status[name]["url"] == url for name in ("management", "signal"))
    wait_for(probe, 20, f"{helper.host.name} is connected to {url}", watch=[helper.proc])


def main(lab):
    for program in ("nginx", "openssl"):
        if not shutil.which(program):
            lab_module.skip(f"no {program} (scripts/install-deps --test)")
    hub = HubBehindNginx(lab.public("hub"))
    nginx = Nginx(hub.host)
    a, b = connect(hub, lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b"),
                   SSL_CERT_FILE=nginx.certificates.ca)
    overlay_ping(a.host, b.overlay(), count=5)
    for helper in (a, b):
        check_up(helper, hub.url)
    # Each stream is a connection of its own from the hub's own address: no limit for one address counts.
    check("connection-refused" not in hub.proc.log(), "the hub refused the proxy")
    calls = lab_module.read_text(f"{nginx.dir}/access.log")
    check("ManagementService/Login" in calls and "SignalExchange/Send" in calls, "nginx has not seen the calls")

    nginx.proc.stop()
    for helper in (a, b):
        wait_for(lambda: not helper.status()["management"]["connected"], 20, "management is gone", watch=[helper.proc])
    check(a.host.ping(b.overlay(), 10) == 10, "pings lost without the servers")
    nginx.start()
    for helper in (a, b):
        check_up(helper, hub.url)
    print({name: a.status()[name] for name in ("management", "signal")})
    overlay_ping(b.host, a.overlay(), count=5)


lab_module.run(main)
