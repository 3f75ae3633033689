# shellcheck shell=bash
# The programs of these tests, for scripts that run them in surroundings of their own. To be sourced, in the repository's folder.

# Files of tests that are about a network.
networked=" pull gateway "

# build_suite: builds what the tests need, with $CARGO or cargo, and notes their programs.
build_suite() {
    local cargo=${CARGO:-cargo} said
    said=$(mktemp)
    "$cargo" build --locked -p imgd -p imgctl --features imgd/faults --bin imgd-faulty
    "$cargo" test --locked --no-run --workspace 2>&1 | tee "$said"
    # `Executable tests/NAME.rs (PROGRAM)`, of every package
    suite=$(sed -n 's|.*Executable tests/\([a-z_]*\)\.rs (\(.*\))|\1 \2|p' "$said")
    rm -f "$said"
}

# each_test FUNCTION [NAME…]: calls FUNCTION NAME PROGRAM in e2e/ for each that needs no network, or for those that are named. Returns 1
# where one of the calls failed.
each_test() {
    local run=$1 name program status=0
    shift
    local wanted=" $* "
    while read -r name program; do
        # of another package, unless it has the same name
        [ -f "e2e/tests/$name.rs" ] || continue
        [[ $networked != *" $name "* ]] || continue
        [ $# -eq 0 ] || [[ $wanted == *" $name "* ]] || continue
        [[ $program == /* ]] || program=$PWD/$program
        (cd e2e && "$run" "$name" "$program") || status=1
    done <<<"$suite"
    return $status
}
