#!/usr/bin/env bash
# The tests of the whole where there is no network: everything but `imgctl pull` and the gateway, inside `unshare -n`.
#
#   e2e/offline.sh              all of them
#   e2e/offline.sh crash found  some of them
#
# Builds first, outside. Ends with status 1 when a test fails; prints the test runner's own lines.
set -euo pipefail
cd "$(dirname "$0")/.."

# Files of tests that are about a network.
networked=" pull gateway "

unshare=(unshare --net)
[ "$(id -u)" -eq 0 ] || unshare=(unshare --map-current-user --net)
"${unshare[@]}" true || { echo "skipped: no network namespaces here"; exit 0; }
# And it is one: not even this machine can be reached.
if "${unshare[@]}" bash -c 'exec 3<>/dev/tcp/127.0.0.1/9' 2>&1 | grep -q "refused"; then
    echo "the namespace has a network" >&2
    exit 1
fi

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for file in e2e/tests/*.rs; do
        name=$(basename "$file" .rs)
        [[ $networked == *" $name "* ]] || names+=("$name")
    done
fi

cargo build --locked -p imgd -p imgctl
cargo build --locked -p imgd --features faults --bin imgd-faulty
cargo test --locked --no-run -p imgd-e2e "${names[@]/#/--test=}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
for name in "${names[@]}"; do
    echo "== $name, without a network"
    "${unshare[@]}" cargo test --locked --offline --quiet -p imgd-e2e --test "$name" -- --nocapture >"$log" 2>&1 ||
        { status=1; cat "$log"; }
    # the test runner's own closing lines, and what the tests skipped
    grep -E '^test result:|^skipped:' "$log" || true
done
exit $status
