#!/usr/bin/env bash
# Runs the real `imgctl mcp` against the official Python client of the Model Context Protocol, with a daemon of its own.
# IMGD and IMGCTL name the programs; the client is fetched from PyPI into a temporary folder.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
IMGD=$(realpath "${IMGD:-$root/target/debug/imgd}")
IMGCTL=$(realpath "${IMGCTL:-$root/target/debug/imgctl}")
export IMGD IMGCTL
for program in "$IMGD" "$IMGCTL"; do
  [ -x "$program" ] || { echo "$program is not there: cargo build -p imgd -p imgctl" >&2; exit 1; }
done

work=$(mktemp -d /tmp/imgd-mcp-XXXXXX)
finish() {
  status=$?
  HOME=$work/home XDG_RUNTIME_DIR=$work/run "$IMGCTL" shutdown --force >/dev/null 2>&1 || true
  rm -rf "$work"
  exit $status
}
trap finish EXIT

if ! python3 -m venv "$work/venv" >/dev/null 2>&1; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "python3 with its module venv is needed (Debian: python3-venv)" >&2
    exit 1
  fi
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv
  python3 -m venv --clear "$work/venv"
fi
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'mcp>=1.12,<3'
"$work/venv/bin/pip" list 2>/dev/null | grep '^mcp '
mkdir -m 700 "$work/run"
mkdir "$work/home"
"$work/venv/bin/python" "$here/test.py" "$work"
