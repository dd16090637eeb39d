#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything that CI runs, one runner after the other; each leaves its results in build/test, and the last line is
# their sum. A runner that fails does not keep the next from running.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

scripts/deps.sh build run test
out=$PWD/build/test
rm -rf "$out"; mkdir -p "$out"
results=()

# runner NAME RESULTS COMMAND …: its output goes to build/test/NAME.log, and is shown when it fails.
runner() {
    local name=$1 file=$2 begun=$SECONDS status=0
    shift 2
    rm -f "$file"
    "$@" >"$out/$name.log" 2>&1 || status=$?
    results+=("$name:$status=$file")
    if [ $status = 0 ]; then
        say "$name: ok, $((SECONDS - begun)) s"
    else
        say "$name: FAILED, $((SECONDS - begun)) s; all of it is in build/test/$name.log"
        tail -n 60 "$out/$name.log" >&2
    fi
}

# A runner that hangs is ended, so that the sum is told in any case.
limited() { timeout --kill-after=30 --signal=INT 600 "$@"; }

# Most tests wait more than they work, so more of them run at once than there are cores. Those that share something name a
# group, which stays together.
n_units=4 n_python=6

# units BUILD [meson test options …]: the unit tests of one build, under setarch -R as sanitizers want it.
units() {
    local build=$1; shift
    scripts/build.sh "$build" || return # `set -e` does not reach in here
    POOLMGR_TEST_ENGINE=${POOLMGR_TEST_ENGINE:-$PWD/build/engine/usr/bin/llama-server} \
        limited setarch -R meson test -C "build/$build" --num-processes $n_units --no-rebuild --print-errorlogs "$@"
}

python_tests() {
    POOLMGR_BUILD=$PWD/build/asan POOLMGR_TEST_ENGINE=${POOLMGR_TEST_ENGINE:-$PWD/build/engine/usr/bin/llama-server} \
        limited setarch -R /usr/bin/python3 -m pytest -q -n $n_python --dist loadgroup -p no:cacheprovider -o faulthandler_timeout=150 \
        --junitxml="$out/$1.xml" "tests/$1"
}

runner lint "$out/lint.log" scripts/lint.sh
runner engine "$out/engine.txt" bash -c 'tools/fetch_engine.sh build/engine &&
    tools/fetch_engine.sh build/engine-rpc llama.cpp-tools-extra libggml0-backend-rpc && echo "ok engine" >build/test/engine.txt'
runner unit build/asan/meson-logs/testlog.junit.xml units asan --suite unit --suite fuzz
runner integration "$out/integration.xml" python_tests integration
runner bdd "$out/bdd.xml" python_tests bdd
runner scripts "$out/scripts.xml" python_tests scripts
runner sim "$out/sim.log" limited scripts/sim.sh short
export POOLMGR_TEST_SHORT=1 # tools that are many times slower
runner valgrind build/plain/meson-logs/testlog-valgrind.junit.xml units plain --suite valgrind --timeout-multiplier 10 \
    --wrapper 'valgrind -q --error-exitcode=9 --leak-check=full --child-silent-after-fork=yes' # names its results itself
runner tsan build/tsan/meson-logs/testlog.junit.xml units tsan --suite unit

say "all of it took $SECONDS s"
/usr/bin/python3 scripts/tally.py "${results[@]}"
