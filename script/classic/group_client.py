#!/usr/bin/env python3
"""A double of the old group client, faults included: each recv is shown as a message, and a character that is cut in two ends
it. In the place of a microphone there is a WAV file, in the place of a loudspeaker a file of bare samples.

    group_client.py [--say FILE.wav] [--heard FILE.pcm] [--stats FILE.json] HOST TEXT_PORT VOICE_PORT

Lines typed are sent; {quit} leaves and closes both connections at once. The WAV file must have the rate and channels of the
server's voice, in 16 bits; it is sent in real time, and nothing after its end. The statistics are when the first sample of it was said,
and when the first that was heard came, in nanoseconds of the monotonic clock.
"""

import argparse
import json
import os
import socket
import sys
import threading
import time
import wave

BUFSIZ = 1024
CHUNK = 1024


def receive_text(text):
    while True:
        try:
            data = text.recv(BUFSIZ)
        except OSError:
            return
        if not data:
            return
        print(data.decode("utf8"), flush=True)


stats = {}


def send_voice(voice, path):
    with wave.open(path) as file:
        assert file.getsampwidth() == 2, "16 bits are needed"
        due = time.monotonic()
        stats["mic_started_ns"] = int(due * 1e9)
        while data := file.readframes(CHUNK):
            due += CHUNK / file.getframerate()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                voice.sendall(data)
            except OSError:
                return
    print("all said", flush=True)


def receive_voice(voice, path):
    with open(path or os.devnull, "wb") as file:
        while True:
            try:
                data = voice.recv(CHUNK * 2)
            except OSError:
                return
            if not data:
                return
            stats.setdefault("speaker_started_ns", time.monotonic_ns())
            file.write(data)
            file.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--say", metavar="FILE.wav")
    parser.add_argument("--heard", metavar="FILE.pcm")
    parser.add_argument("--stats", metavar="FILE.json")
    parser.add_argument("host")
    parser.add_argument("text_port", type=int)
    parser.add_argument("voice_port", type=int)
    arguments = parser.parse_args()
    text = socket.create_connection((arguments.host, arguments.text_port))
    voice = socket.create_connection((arguments.host, arguments.voice_port))
    threading.Thread(target=receive_text, args=(text,), daemon=True).start()
    threading.Thread(target=receive_voice, args=(voice, arguments.heard), daemon=True).start()
    if arguments.say:
        threading.Thread(target=send_voice, args=(voice, arguments.say), daemon=True).start()
    for line in sys.stdin:
        line = line.rstrip("\n")
        text.send(bytes(line, "utf8"))
        if line == "{quit}":
            text.close()
            voice.close()
            break
    if arguments.stats:
        with open(arguments.stats, "w") as file:
            json.dump(stats, file)


if __name__ == "__main__":
    main()
