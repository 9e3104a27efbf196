#!/usr/bin/env python3
"""A double of the old group server, faults included: one recv is one message, sends block, nobody who vanishes is announced,
voice goes to everybody as it was read, its sender too.

    group_server.py [--host HOST] [--cut] TEXT_PORT VOICE_PORT

Port 0 picks a free one; the ports are printed. With --cut every text is sent in two parts, within a character where there is
one of several bytes, as a network may do it.
"""

import argparse
import socket
import threading

BUFSIZ = 1024

clients = {}
voices = []
is_cut = False


def send(client, data):
    """As the original's `client.send(data)`."""
    if not is_cut:
        client.sendall(data)
        return
    within = [at for at, byte in enumerate(data) if byte & 0xC0 == 0x80]
    at = within[-1] if within else len(data) // 2
    client.sendall(data[:at])
    client.sendall(data[at:])


def broadcast(data, prefix=""):
    for client in list(clients):
        send(client, bytes(prefix, "utf8") + data)


def handle_text(client):
    name = client.recv(BUFSIZ).decode("utf8")
    send(client, bytes(f"Welcome {name}! If you ever want to quit, type {{quit}} to exit.", "utf8"))
    broadcast(bytes(f"{name} has joined the chat!", "utf8"))
    clients[client] = name
    while True:
        data = client.recv(BUFSIZ)
        if not data:
            # Whoever vanishes stays in the list.
            return
        if data != bytes("{quit}", "utf8"):
            broadcast(data, name + ": ")
        else:
            client.send(bytes("{quit}", "utf8"))
            client.close()
            del clients[client]
            broadcast(bytes(f"{name} has left the chat.", "utf8"))
            return


def accept_text(listener):
    while True:
        client, address = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("%s:%s has connected." % address[:2], flush=True)
        client.send(bytes("Type your name and press enter!", "utf8"))
        threading.Thread(target=handle_text, args=(client,), daemon=True).start()


def handle_voice(voice):
    while True:
        data = voice.recv(BUFSIZ)
        if not data:
            # A leaver's voice connection stays; only the double stops to read from it.
            return
        for other in list(voices):
            try:
                other.sendall(data)
            except OSError:
                voices.remove(other)


def accept_voice(listener):
    while True:
        voice, _ = listener.accept()
        print("voice OK", flush=True)
        voices.append(voice)
        threading.Thread(target=handle_voice, args=(voice,), daemon=True).start()


def main():
    global is_cut
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("text_port", type=int)
    parser.add_argument("voice_port", type=int)
    arguments = parser.parse_args()
    is_cut = arguments.cut
    text = socket.create_server((arguments.host, arguments.text_port))
    voice = socket.create_server((arguments.host, arguments.voice_port))
    print(f"ports {text.getsockname()[1]} {voice.getsockname()[1]}", flush=True)
    print("Waiting for connection...", flush=True)
    threading.Thread(target=accept_voice, args=(voice,), daemon=True).start()
    accept_text(text)


if __name__ == "__main__":
    main()
