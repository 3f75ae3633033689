#!/usr/bin/env bash
# The tests of the whole where there is no network: everything but `imgctl pull` and the gateway, inside `unshare -n`.
#
#   e2e/offline.sh              all of them
#   e2e/offline.sh crash found  some of them
#
# Builds first, outside, with $CARGO or cargo. Prints the test runner's own lines; ends with status 1 when a test fails.
set -euo pipefail
cd "$(dirname "$0")/.."
. e2e/suite.sh

unshare=(unshare --net)
[ "$(id -u)" -eq 0 ] || unshare=(unshare --map-current-user --net)
"${unshare[@]}" true || { echo "skipped: no network namespaces here"; exit 0; }
# And it has no network: one could at least be refused by this machine.
if "${unshare[@]}" bash -c 'exec 3<>/dev/tcp/127.0.0.1/9' 2>&1 | grep -q refused; then
    echo "the namespace has a network" >&2
    exit 1
fi

build_suite
log=$(mktemp)
trap 'rm -f "$log"' EXIT

offline() {
    local status=0
    echo "== $1, without a network"
    "${unshare[@]}" "$2" --nocapture </dev/null >"$log" 2>&1 || { status=1; cat "$log"; }
    # the test runner's own closing line, and what the tests skipped
    grep -aE '^test result:|^skipped:' "$log" || true
    return $status
}
each_test offline "$@"
