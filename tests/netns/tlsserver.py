#!/usr/bin/env python3
"""Makes TLS handshakes and says nothing behind them: tlsserver.py PORT CERT KEY [no-alpn] [client-ca=FILE]"""

import socket
import ssl
import sys
import threading


def serve(context, conn):
    try:
        with context.wrap_socket(conn, server_side=True) as tls:
            while tls.recv(65536):
                pass
    except OSError:
        pass


def main():
    port, cert, key, *options = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if "no-alpn" not in options:
        context.set_alpn_protocols(["h2"])
    for option in options:
        if option.startswith("client-ca="):
            context.load_verify_locations(option.split("=", 1)[1])
            context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("0.0.0.0", int(port)))
    print("listening", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(context, conn), daemon=True).start()


main()
