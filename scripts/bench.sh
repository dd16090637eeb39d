#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the measurements of bench/ on a release build and prints them; nothing is asserted.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

scripts/build.sh bench
tools/fetch_engine.sh build/engine >/dev/null
export POOLMGR_BUILD=$PWD/build/bench
say bench/core_leases
"$POOLMGR_BUILD"/bench/core_leases | tee build/core_leases.txt
/usr/bin/python3 bench/core_plot.py build/core_leases.svg <build/core_leases.txt
say bench/core_placement
"$POOLMGR_BUILD"/bench/core_placement
say bench/plan
"$POOLMGR_BUILD"/bench/plan
say bench/http_server
"$POOLMGR_BUILD"/bench/http_server
for program in bench/cold_start.py bench/idle.py; do
    say "$program"
    /usr/bin/python3 "$program"
done
