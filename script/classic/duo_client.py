#!/usr/bin/env python3
"""A double of the old one-to-one client, faults included: what it sends must be ASCII.

    duo_client.py HOST PORT
"""

import socket
import sys
import threading

BUFSIZ = 4096


def receive(server):
    while True:
        try:
            data = server.recv(BUFSIZ)
        except OSError:
            return
        if not data:
            print("Server closed", flush=True)
            return
        print(f"\nFrom server : {data.decode('utf8')}", flush=True)


def main():
    if len(sys.argv) != 3:
        print("[USAGE] : duo_client.py HOST PORT")
        sys.exit(1)
    server = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    threading.Thread(target=receive, args=(server,), daemon=True).start()
    while True:
        try:
            line = input("Send : ")
        except EOFError:
            break
        if line == "quit":
            break
        server.send(line.encode("ascii"))
    server.close()


if __name__ == "__main__":
    main()
