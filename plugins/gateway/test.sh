#!/usr/bin/env bash
# The gateway with real callers: the official openai client for Python, and its page in Chromium.
#
# IMGD and IMGCTL are the programs (default: target/debug), CHROMIUM the browser. Needs python3 with venv, npm and Chromium.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export IMGCTL=${IMGCTL:-$root/target/debug/imgctl}
export IMGD_BIN=${IMGD:-$root/target/debug/imgd}
export CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}

for program in "$IMGCTL" "$IMGD_BIN" python3 npm "${CHROMIUM:-chromium}"; do
  command -v "$program" >/dev/null || { echo "error: \`$program\` is not there" >&2; exit 1; }
done

home=$(mktemp -d)
gateway=
end() {
  status=$?
  [ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true
  HOME="$home" "$IMGCTL" shutdown --force >/dev/null 2>&1 || true
  rm -rf "$home"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT TERM

mkdir -m 700 "$home/run"
cache=${XDG_CACHE_HOME:-$HOME/.cache}
export XDG_RUNTIME_DIR=$home/run XDG_CONFIG_HOME=$home/config XDG_DATA_HOME=$home/data XDG_STATE_HOME=$home/state
unset IMGD_SOCKET IMGD_CONFIG

# listens at a free port and sets `url`
start() {
  : >"$home/said"
  HOME=$home XDG_CACHE_HOME=$home/cache "$IMGCTL" --json gateway --listen 127.0.0.1:0 "$@" >"$home/said" 2>"$home/complaints" &
  gateway=$!
  for _ in $(seq 600); do
    [ -s "$home/said" ] && break
    kill -0 "$gateway" || { cat "$home/complaints" >&2; exit 1; }
    sleep 0.1
  done
  url=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$home/said")
  [ -n "$url" ] || { echo "error: the gateway does not say where it is" >&2; exit 1; }
}

# ends it and looks that it said nothing
stop() {
  kill "$gateway"
  wait "$gateway" 2>/dev/null || true
  gateway=
  if [ -s "$home/complaints" ]; then
    cat "$home/complaints" >&2
    exit 1
  fi
}

echo "== openai's client for Python"
python3 -m venv "$home/venv"
XDG_CACHE_HOME=$cache "$home/venv/bin/pip" install --quiet --disable-pip-version-check 'openai<4'
(umask 077 && head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$home/key")
start --api-key-file "$home/key"
OPENAI_BASE_URL=$url/v1 OPENAI_API_KEY=$(cat "$home/key") HOME=$home "$home/venv/bin/python" "$here/tests/openai_client.py"
stop

# the page begins with nothing drawn
HOME=$home "$IMGCTL" shutdown --force >/dev/null
rm -rf "$home/data"

echo "== the page in Chromium"
(cd "$here/tests/page" && XDG_CACHE_HOME=$cache npm ci --silent --no-audit --no-fund)
start
(cd "$here/tests/page" && HOME=$home URL=$url SCREENSHOTS=${SCREENSHOTS:-$home} BROWSER_HOME=$home/browser node --test --test-reporter=spec page.test.mjs)
stop
start --api-key-file "$home/key"
(cd "$here/tests/page" && HOME=$home URL=$url KEY=$(cat "$home/key") BROWSER_HOME=$home/browser-2 node --test --test-reporter=spec key.test.mjs)
stop
