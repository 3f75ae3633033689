#!/usr/bin/env bash
# The tests of the whole under strace: what sockets the daemon's processes make, in everything but `imgctl pull` and the gateway.
#
#   e2e/traced.sh              all of them
#   e2e/traced.sh crash found  some of them
#
# Builds first, with $CARGO or cargo. Ends with status 1 when a process of imgd made a socket that is not AF_UNIX, or tried to beside what the
# sandbox tries of itself (protocol 253, which must be refused), and when a test fails.
set -euo pipefail
cd "$(dirname "$0")/.."
. e2e/suite.sh
command -v strace >/dev/null || { echo "skipped: strace is not here"; exit 0; }
if ! strace -o /dev/null true; then
    echo "skipped: strace may trace nothing here"
    exit 0
fi

build_suite
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Reads a trace twice: who is whose child, then who is imgd and makes which sockets.
cat >"$work/sockets.awk" <<'AWK'
function is_imgd(process) {
    if (!(process in runs)) runs[process] = process in parent ? is_imgd(parent[process]) : 0
    return runs[process]
}
FNR == NR {
    # `clone(…) = CHILD`, or the rest of one that was interrupted
    if ($0 ~ /clone|fork/ && match($0, /= [0-9]+$/)) parent[substr($0, RSTART + 2)] = $1
    next
}
match($0, /execve\("[^"]*"/) {
    path = substr($0, RSTART + 8, RLENGTH - 9)
    runs[$1] = path ~ /\/imgd(-faulty)?$/
    if (runs[$1]) started += 1
}
match($0, /socket(pair)?\(AF_[A-Z0-9]+/) && is_imgd($1) {
    # one that was interrupted: what became of it stands in a later line of the same process
    if ($0 ~ /unfinished/) { begun[$1] = $0; next }
    judge($0)
}
/<\.\.\. socket(pair)? resumed>/ && ($1 in begun) {
    judge(begun[$1] " " $0)
    delete begun[$1]
}
function judge(line) {
    if (line ~ /\(AF_UNIX/) unix += 1
    else if (line ~ /0xfd/ && line ~ /= -1 E(PERM|ACCES)/) refused += 1
    else { print line; network += 1 }
}
END {
    printf "imgd was started %d times and made %d sockets, all AF_UNIX but %d; the sandbox tried %d and was refused\n",
        started, unix + network, network, refused
    exit network > 0
}
AWK

traced() {
    local status=0 trace=$work/trace log=$work/log
    # these trace or confine processes themselves, which cannot be done twice
    local skipped=()
    [ "$1" != sandbox ] || skipped=(--skip no_process_tries --skip all_three_processes --skip a_layer_that_the_system)
    echo "== $1, traced"
    strace -f --seccomp-bpf -qq -e trace=socket,socketpair,execve,clone,clone3,fork,vfork -o "$trace" \
        "$2" --nocapture "${skipped[@]}" </dev/null >"$log" 2>&1 || { status=1; cat "$log"; }
    grep -aE '^test result:|^skipped:' "$log" || true
    awk -f "$work/sockets.awk" "$trace" "$trace" || status=1
    return $status
}
each_test traced "$@"
