#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: sim.sh run|mutants|short      the deciding core in a simulated world (docs/simulator.md)
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

build=build/plain caught=build/plain/mutants.txt
[ -e $build/build.ninja ] || scripts/build.sh plain
ninja -C $build tests/sim/simulator >build/sim.log 2>&1 || { cat build/sim.log >&2; die "the simulator does not build"; }
simulator=$build/tests/sim/simulator

# What the environment does not say, the program knows.
chosen=("--mutants=$caught" ${SEED:+"--seed=$SEED"} ${ROUNDS:+"--rounds=$ROUNDS"} ${STEPS:+"--steps=$STEPS"})

case ${1:-run} in
run) "$simulator" "${chosen[@]}" ;;
mutants) /usr/bin/python3 tests/sim/mutants.py $build "--out=$caught" ;;
short)
    status=0
    /usr/bin/python3 tests/sim/mutants.py $build "--out=$caught" || status=1
    "$simulator" "--mutants=$caught" --rounds=3000 --steps=600 || status=1
    exit $status
    ;;
*) die "no such run '$1'" ;;
esac
