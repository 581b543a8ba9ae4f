#!/usr/bin/env python3
"""What can be wrong with TLS, as a user reads it: one sentence of `login`, and of `status` and the log of a
running helper, that names the server, what was wrong and what to do about it."""

import json
import os
import re
import shutil

from direct import Helper, Hub, check, lab_module, wait_for
from programs import Certificates

SERVER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "tlsserver.py")
NAME = "hub.lab"
DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"

# kind: (the certificate's names, its dates, options of the server, host of the URL, what is said)
KINDS = {
    "name": ("DNS:other.example,DNS:*.example.org", None, [], NAME,
             f'the server\'s certificate is not for "{NAME}" but for other.example, \\*.example.org'),
    "address": ("DNS:other.example", None, [], None, 'is not for "{ip}" but for other.example'),
    "address-as-name": ("DNS:{ip}", None, [], None, "as a DNS name; an address must be there as an IP address"),
    "no-name": ("email:root@hub.lab", None, [], NAME, "no name at all \\(a common name alone does not count\\)"),
    "expired": (f"DNS:{NAME}", ("20200101000000Z", "20210101000000Z"), [], NAME,
                f"certificate expired on {DATE}; renew it there, or set this machine's clock"),
    "not-yet": (f"DNS:{NAME}", ("20900101000000Z", "20910101000000Z"), [], NAME,
                f"is valid only from {DATE}; is this machine's clock right\\?"),
    "unknown-ca": (f"DNS:{NAME}", None, [], NAME,
                   'was issued by "lab CA", which this machine does not know; caFile \\(login --ca-file\\) names a CA of your own'),
    "no-alpn": (f"DNS:{NAME}", None, ["no-alpn"], NAME, "did not choose HTTP/2 \\(ALPN h2\\)"),
    "no-client-certificate": (f"DNS:{NAME}", None, ["client-ca={ca}"], NAME,
                              "wants a client certificate; set clientCertFile and clientKeyFile"),
    "bad-client-certificate": (f"DNS:{NAME}", None, ["client-ca={ca}"], NAME, "refuses our client certificate"),
    "not-there": (f"DNS:{NAME}", None, [], "nowhere.lab", 'the host name "nowhere.lab" cannot be resolved'),
    "stall": (f"DNS:{NAME}", None, ["stall"], NAME, "no end of the TLS handshake in time"),
    "hang-up": (f"DNS:{NAME}", None, ["hang-up"], NAME, "the server hung up in the TLS handshake"),
    "no-tls": (f"DNS:{NAME}", None, ["plain"], NAME, "the server does not speak TLS on this port; is it http:// there\\?"),
}


class DatedCertificates(Certificates):
    def make_dated(self, name, san, dates):
        """`openssl x509` knows no beginning; `openssl ca` does."""
        self.make(name, san)
        if not dates:
            return
        work = os.path.join(self.dir, f"{name}.ca")
        os.mkdir(work)
        for file, text in (("index.txt", ""), ("serial", "01\n"), ("ca.cnf", f"""
[ca]
default_ca = own
[own]
database = {work}/index.txt
serial = {work}/serial
new_certs_dir = {work}
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
""")):
            with open(os.path.join(work, file), "w", encoding="ascii") as out:
                out.write(text)
        self.openssl("req", "-new", "-key", self.file(f"{name}.key"), "-subj", f"/CN={name}", "-addext",
                     f"subjectAltName={san}", "-out", self.file("new.csr"))
        self.openssl("ca", "-batch", "-config", f"{work}/ca.cnf", "-cert", self.ca, "-keyfile", self.file("ca.key"),
                     "-in", self.file("new.csr"), "-startdate", dates[0], "-enddate", dates[1], "-notext",
                     "-out", self.file(f"{name}.pem"))


def configure(helper, kind, certificates, strangers):
    config = {} if kind == "unknown-ca" else {"caFile": certificates.ca}
    if kind == "bad-client-certificate":
        config["clientCertFile"], config["clientKeyFile"] = (strangers.file(f"client.{end}") for end in ("pem", "key"))
        for file in config["clientCertFile"], config["clientKeyFile"]:
            os.chmod(file, 0o644)
    path = os.path.join(helper.dir, "config.json")
    with open(path, "w", encoding="ascii") as file:
        json.dump(config, file)
    os.chmod(path, 0o600)


def check_login(lab, server, host, certificates, strangers):
    procs = {}
    for number, (kind, (san, dates, options, name, _)) in enumerate(KINDS.items()):
        certificates.make_dated(kind, san.format(ip=server.v4), dates)
        port = 8400 + number
        proc = server.start(f"server-{kind}", ["python3", SERVER, port, certificates.file(f"{kind}.pem"),
                                               certificates.file(f"{kind}.key"),
                                               *[option.format(ca=certificates.ca) for option in options]])
        wait_for(lambda: "listening" in proc.log(), 10, f"{kind}: the server listens", watch=[proc])
        helper = Helper(host, name=f"helper-{kind}")
        configure(helper, kind, certificates, strangers)
        key = helper.key_file("00000000-0000-0000-0000-000000000000")
        where = f"{name or server.v4}:{port}"
        procs[kind] = where, host.start(f"login-{kind}", [
            helper.program, "login", "--config-dir", helper.dir, "--management-url", f"https://{where}",
            "--setup-key-file", key])
    wrong = []
    for kind, (where, proc) in procs.items():
        status, text = proc.wait(60), proc.log()
        print(f"{kind}: {status}: {text.strip()}")
        said = KINDS[kind][4].format(ip=server.v4) if "{ip}" in KINDS[kind][4] else KINDS[kind][4]
        if status != 1 or where not in text or not re.search(said, text) or text.count("\n") != 1:
            wrong.append(kind)
    check(not wrong, f"login said something else, or more: {wrong}")


def check_running(host, server, certificates):
    """A helper that is up meets a hub whose certificate is for somebody else."""
    hub = Hub(server, tls=True)
    helper = Helper(host)
    helper.start(hub.url, hub.key(), SSL_CERT_FILE=hub.certificates.ca)
    helper.overlay()
    hub.proc.stop()
    hub.certificates.make("hub", "DNS:other.example")
    hub.start()
    said = f'{hub.address}:{hub.port}: the server\'s certificate is not for "{hub.address}" but for other.example'
    wait_for(helper.status, 10, "status.json is there", watch=[helper.proc])
    wait_for(lambda: helper.status()["management"]["error"] == said and helper.status()["signal"]["error"] == said, 20,
             "status.json says so", watch=[helper.proc])
    text = helper.command("status", ok=False).stdout
    print(text)
    check(said in text, "status does not say so")
    check(f'why="{said}"' in helper.proc.log(), "the log does not say so")


def main(lab):
    if not shutil.which("openssl"):
        lab_module.skip("no openssl command")
    server, host = lab.public("server"), lab.public("guest")
    host.private_etc()
    host.shell(f"echo {server.v4} {NAME} >> /etc/hosts; rm -f /etc/resolv.conf; echo nameserver 127.0.0.1 > /etc/resolv.conf")
    certificates = DatedCertificates(lab.dir("certificates"))
    strangers = Certificates(lab.dir("strangers"))
    strangers.make("client", "DNS:client")
    check_login(lab, server, host, certificates, strangers)
    check_running(host, server, certificates)


lab_module.run(main)
