#!/usr/bin/env bash
# The extension's tests: types, unit tests, the client against a real daemon, the packed extension driven through a stub
# of VS Code's API, the package's content, and the pages in headless Chromium.
#
# IMGD and IMGCTL name the programs; default: those of a debug build. CHROMIUM names the browser. Leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")"

root=$(cd ../.. && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
export IMGD=${IMGD:-$target/debug/imgd} IMGCTL=${IMGCTL:-$target/debug/imgctl}
export CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || echo /usr/bin/chromium)}
for program in node npm "$IMGD" "$IMGCTL" "$CHROMIUM"; do
    if ! command -v "$program" >/dev/null; then
        echo "error: $program is missing; see the top of $0" >&2
        exit 1
    fi
done

# A system's Node may be older than the tools take: then one from npm, for this run alone.
if ! node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'; then
    newer=$(mktemp -d)
    trap 'rm -rf "$newer"' EXIT
    npm install --silent --no-save --prefix "$newer" node@20
    PATH=$newer/node_modules/node/bin:$PATH
fi
node --version

npm ci --silent
npm run --silent package >/dev/null
node build.mjs --tests
# One file after another: a picture takes all cores there are.
node --test --test-concurrency=1 --test-reporter=spec out/*.test.cjs
