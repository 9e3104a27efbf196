#!/usr/bin/env python3
"""Many old group clients at one server, the first of which talks: what they cost it, and how much voice each of them got.

    crowd.py [--clients N] [--seconds S] [--say FILE.wav] [--stuck N] [--pid PID] HOST TEXT_PORT VOICE_PORT

The WAV file must have the rate and channels of the server's voice, in 16 bits; it is said again and again. So many as --stuck says
read nothing at all. With the server's process id its CPU time is told.
"""

import argparse
import os
import selectors
import socket
import time
import wave

CHUNK = 1024


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def join(arguments, name):
    text = socket.create_connection((arguments.host, arguments.text_port))
    voice = socket.create_connection((arguments.host, arguments.voice_port))
    text.recv(CHUNK)
    text.send(name.encode())
    while b"{quit}" not in text.recv(CHUNK):
        pass
    return text, voice


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--say", metavar="FILE.wav")
    parser.add_argument("--stuck", type=int, default=0)
    parser.add_argument("--pid", type=int)
    parser.add_argument("host")
    parser.add_argument("text_port", type=int)
    parser.add_argument("voice_port", type=int)
    arguments = parser.parse_args()
    chunks, rate, frame_bytes = [b"\0" * 2 * CHUNK], 44100, 2
    if arguments.say:
        with wave.open(arguments.say) as file:
            rate, frame_bytes = file.getframerate(), file.getsampwidth() * file.getnchannels()
            chunks = list(iter(lambda: file.readframes(CHUNK), b""))
    members = [join(arguments, f"member {number}") for number in range(arguments.clients)]
    heard = [0] * len(members)
    selector = selectors.DefaultSelector()
    for number, (text, voice) in enumerate(members):
        if number >= len(members) - arguments.stuck:
            continue
        for stream, is_voice in ((text, False), (voice, True)):
            stream.setblocking(False)
            selector.register(stream, selectors.EVENT_READ, (number, is_voice))
    begun, used = time.monotonic(), cpu_seconds(arguments.pid) if arguments.pid else 0
    said = 0
    while (now := time.monotonic()) < begun + arguments.seconds:
        while begun + said * CHUNK / rate <= now:
            members[0][1].send(chunks[said % len(chunks)])
            said += 1
        for key, _ in selector.select(CHUNK / rate / 2):
            number, is_voice = key.data
            data = key.fileobj.recv(65536)
            if not data:
                raise SystemExit(f"member {number} was closed")
            heard[number] += len(data) * is_voice
    took = time.monotonic() - begun
    of = [bytes_heard / frame_bytes / rate / took for bytes_heard in heard[: len(members) - arguments.stuck]]
    print(f"clients={len(members)} seconds={took:.1f} heard_of_real_time={min(of):.3f}..{max(of):.3f}", end="")
    if arguments.pid:
        print(f" cpu_percent={100 * (cpu_seconds(arguments.pid) - used) / took:.1f}", end="")
    print()


if __name__ == "__main__":
    main()
