#!/usr/bin/env bash
# Tests of the menus for Nautilus, Dolphin and Finder, with a daemon of their own. They need Python 3 and no display:
# programs that notify are stood for. IMGD and IMGCTL name the programs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
imgd=$(realpath "${IMGD:-$target/debug/imgd}")
imgctl=$(realpath "${IMGCTL:-$target/debug/imgctl}")
if [ "$(id -u)" = 0 ]; then
    for need in python3:python3 ps:procps desktop-file-validate:desktop-file-utils shellcheck:shellcheck; do
        command -v "${need%%:*}" >/dev/null ||
            apt-get -o DPkg::Lock::Timeout=300 install -y -q "${need#*:}" >/dev/null || true
    done
fi
if command -v shellcheck >/dev/null; then
    shellcheck "$here"/imgd-files "$here"/*.sh "$here"/test/recorder "$here"/../nautilus/*
else
    echo "skipped: shellcheck is not here"
fi

root=$(mktemp -d /tmp/imgd-files-test.XXXXXX)
daemon=
finish() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$root"
}
trap finish EXIT
mkdir -m 700 "$root/run" "$root/bin" "$root/stubs" "$root/tmp" "$root/a home"
ln -s "$imgctl" "$root/bin/imgctl"
ln -s "$imgd" "$root/bin/imgd"
ln -s "$here/test/notify-send" "$root/stubs/notify-send"
ln -s "$here/test/recorder" "$root/stubs/gdbus"
ln -s "$here/test/recorder" "$root/stubs/osascript"
unset IMGD_SOCKET XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME XDG_CACHE_HOME
export HOME="$root/a home" XDG_RUNTIME_DIR=$root/run PATH=$root/bin:$root/stubs:$PATH TMPDIR=$root/tmp PYTHONDONTWRITEBYTECODE=1

imgd 2>"$root/imgd.log" &
daemon=$!
for _ in $(seq 600); do
    [ -S "$root/run/imgd/imgd.sock" ] && break
    kill -0 "$daemon" || { cat "$root/imgd.log"; exit 1; }
    sleep 0.1
done

"$here/install.sh" nautilus dolphin finder >/dev/null
cd "$here/test"
timeout 1200 python3 -W ignore run.py </dev/null 2>&1
