#!/usr/bin/env python3
"""A double of the old one-to-one server, faults included: it never notices that a client has gone.

    duo_server.py HOST PORT

Port 0 picks a free one, which is printed.
"""

import socket
import sys
import threading

BUFSIZ = 4096
# The original prints empty messages for ever once its client has gone; some are enough to see it.
EMPTY_MESSAGES = 3


def receive(client, address):
    empty = 0
    while empty < EMPTY_MESSAGES:
        try:
            data = client.recv(BUFSIZ)
        except OSError:
            return
        empty += not data
        print(f"\n<{address[0]}> : {data.decode('utf8')}", flush=True)


def main():
    if len(sys.argv) != 3:
        print("[USAGE] : duo_server.py HOST PORT")
        sys.exit(1)
    try:
        port = int(sys.argv[2])
    except ValueError:
        print("PORT should be Integer Value")
        sys.exit(1)
    server = socket.create_server((sys.argv[1], port))
    print(f"Server open with {sys.argv[1]}:{server.getsockname()[1]}", flush=True)
    client, address = server.accept()
    print(f"Client {address[:2]}", flush=True)
    threading.Thread(target=receive, args=(client, address), daemon=True).start()
    for line in sys.stdin:
        line = line.rstrip("\n")
        if line == "quit":
            break
        client.send(line.encode("utf8"))
        print(f"I > {line}", flush=True)
    client.close()
    server.close()


if __name__ == "__main__":
    main()
