#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target, or those of TARGETS="mask gguf", for DURATION seconds (300). What they find is kept in
# build/fuzz/findings; any is a failure.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

seconds=${DURATION:-300}
scripts/build.sh fuzz
findings=$PWD/build/fuzz/findings; mkdir -p "$findings"
passed=0 failed=0
for program in build/fuzz/tests/fuzz/fuzz_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    name=$(basename "$program"); name=${name#fuzz_}
    [[ -z ${TARGETS:-} || " $TARGETS " = *" $name "* ]] || continue
    corpus=build/fuzz/corpus/$name; mkdir -p "$corpus"
    words=(); [ -e "tests/fuzz/$name.dict" ] && words=("-dict=tests/fuzz/$name.dict")
    say "$name for $seconds s"
    if setarch -R "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        "${words[@]}" -artifact_prefix="$findings/$name-" "$corpus" "tests/fuzz/corpus/$name" >"build/fuzz/$name.log" 2>&1; then
        echo "ok $name: $(grep -o 'stat::number_of_executed_units: *[0-9]*' "build/fuzz/$name.log" | grep -o '[0-9]*$') runs"
        passed=$((passed + 1))
    else
        echo "not ok $name"; tail -n 30 "build/fuzz/$name.log"; failed=$((failed + 1))
    fi
done
[ $((passed + failed)) -gt 0 ] || die "there is no fuzz target"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
