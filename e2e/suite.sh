# shellcheck shell=bash
# The programs of these tests, for scripts that run them in surroundings of their own. To be sourced, in the repository's folder.

# Files of tests that are about a network.
networked=" pull gateway "

# build_suite: builds what the tests need, with $CARGO or cargo, and notes the programs of this package: `NAME PROGRAM` in each line.
build_suite() {
    local cargo=${CARGO:-cargo}
    "$cargo" build --locked -p imgd -p imgctl --features imgd/faults --bin imgd-faulty
    # the whole workspace, so that nothing is built again for other features
    suite=$("$cargo" test --locked --no-run --workspace --message-format json-render-diagnostics |
        sed -n 's/.*"package_id":"[^"]*#imgd-e2e@.*"kind":\["test"\].*"name":"\([a-z_]*\)".*"executable":"\([^"]*\)".*/\1 \2/p' | sort)
    [ -n "$suite" ] || { echo "no test was built" >&2; return 1; }
}

# each_test FUNCTION [NAME…]: calls FUNCTION NAME PROGRAM in e2e/ for each that needs no network, or for those that are named. Returns 1
# where one of the calls failed.
each_test() {
    local run=$1 name program status=0
    shift
    local wanted=" $* "
    while read -r name program; do
        [[ $networked != *" $name "* ]] || continue
        [ $# -eq 0 ] || [[ $wanted == *" $name "* ]] || continue
        (cd e2e && "$run" "$name" "$program") || status=1
    done <<<"$suite"
    return $status
}
