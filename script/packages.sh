# Sourced by the other scripts: makes sure that what the build needs is installed.
# shellcheck shell=bash

have() { command -v "$1" >/dev/null 2>&1; }

# need_packages PACKAGE...: installs the missing ones on Debian and its relatives; elsewhere names them and stops.
need_packages() {
    local missing=() package
    for package in "$@"; do
        case $package in
            build-essential) have cc || missing+=("$package") ;;
            pkg-config | cmake | espeak-ng | pulseaudio | python3 | strace | valgrind) have "$package" || missing+=("$package") ;;
            pulseaudio-utils) have pactl || missing+=("$package") ;;
            alsa-utils) [ -d /usr/share/sounds/alsa ] || missing+=("$package") ;;
            libasound2-dev) have pkg-config && pkg-config --exists alsa || missing+=("$package") ;;
            *) dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package") ;;
        esac
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if have sudo; then as_root=(sudo); else as_root=(missing); fi
    fi
    if ! have apt-get || [ "${as_root[0]:-}" = missing ]; then
        echo "Please install what these Debian packages contain, then run this again: ${missing[*]}" >&2
        return 1
    fi
    echo "Installing ${missing[*]} ..." >&2
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
}

need_rust() {
    if ! have cargo; then
        [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    fi
    have cargo || { echo "Please install Rust first: see rustup.rs" >&2; return 1; }
}

# What compiling takes: the sound library of Linux, and what builds libopus and the cryptography.
need_build() {
    need_rust
    if [ "$(uname -s)" = Linux ]; then
        need_packages build-essential pkg-config cmake libasound2-dev
    fi
}

# What judges voice: sets $voice_python to a Python that has the measures, and makes one if there is none.
need_voice_python() {
    local venv=${VOICE_VENV:-target/voice-venv} python
    for python in "$venv/bin/python" python3; do
        if "$python" -c 'import numpy, scipy, soundfile, pesq, pystoi' 2>/dev/null; then
            voice_python=$python
            return 0
        fi
    done
    need_packages python3-venv
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet numpy scipy soundfile pesq pystoi
    # shellcheck disable=SC2034 # Used by those who source this.
    voice_python=$venv/bin/python
}
