#!/usr/bin/env python3
"""An HTTP proxy that knows CONNECT alone, for test cases: connectproxy.py PORT

Prints "CONNECT TARGET AUTHORIZATION" for every tunnel.
"""

import socket
import sys
import threading


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = client.recv(1)
        if not more:
            return
        head += more
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    authorization = [line.split(": ", 1)[1] for line in lines
                     if line.lower().startswith("proxy-authorization: ")]
    print(method, target, *authorization, flush=True)
    host, port = target.rsplit(":", 1)
    server = socket.create_connection((host.strip("[]"), int(port)), 10)
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=pump, args=(server, client), daemon=True).start()
    pump(client, server)


def main():
    listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
    print("listening", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


main()
