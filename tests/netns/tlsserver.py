#!/usr/bin/env python3
"""Makes TLS handshakes and says nothing behind them: tlsserver.py PORT CERT KEY [no-alpn] [client-ca=FILE]

Or does not even do that: stall, hang-up, plain (answers as HTTP/1.1 does).
"""

import socket
import ssl
import sys
import threading


def serve(context, conn, options):
    try:
        if "plain" in options or "hang-up" in options:
            conn.recv(65536)
            conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" if "plain" in options else b"")
            conn.close()
            return
        while "stall" in options and conn.recv(65536):
            pass
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
        threading.Thread(target=serve, args=(context, conn, options), daemon=True).start()


main()
