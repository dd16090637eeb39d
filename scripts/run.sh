#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: run.sh run|demo      MODEL=FILE ENGINE=FILE PORT=8080
# From nothing to a streamed answer: packages, build, engine, model, daemon, one request. `run` stays in the
# foreground until Ctrl-C; `demo` stops everything, proves that no process is left, and exits 0.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

mode=$1
model=${MODEL:-} engine=${ENGINE:-}
port=${PORT:-$([ "$mode" = demo ] && echo 0 || echo 8080)}

scripts/deps.sh build run
say "building"
scripts/build.sh release

if [ -z "$engine" ]; then
    engine=$PWD/build/engine/usr/bin/llama-server
    [ -x "$engine" ] || say "fetching llama.cpp from Debian's archive (14 MB, signatures checked)"
    tools/fetch_engine.sh build/engine >build/engine.log 2>&1 || { tail -n 20 build/engine.log >&2; die "no engine"; }
fi
if [ -z "$model" ]; then
    model=$PWD/build/models/fox.gguf
    [ -s "$model" ] || { mkdir -p build/models; /usr/bin/python3 tools/make_tiny_gguf.py "$model" >/dev/null; }
fi
for file in "$engine" "$model"; do [ -e "$file" ] || die "no such file: $file"; done

# Sockets' paths are at most 107 bytes long, so the runtime folder is a short one.
folder=$(mktemp -d /tmp/poolmgr-XXXXXX)
export POOLMGR_RUNTIME_DIR=$folder/run POOLMGR_STATE_DIR=$PWD/build/run/state
export POOLMGR_CACHE_DIR=$PWD/build/run/cache POOLMGR_LOG_DIR=$PWD/build/run/log
mkdir -p build/run

build/release/src/bin/orchestratord --model "$model" --engine "$engine" --listen "127.0.0.1:$port" --log-format json \
    2>build/run/events.jsonl &
daemon=$!

stop() {
    trap - INT TERM EXIT
    kill -TERM $daemon 2>/dev/null || true
    local status=0
    wait $daemon || status=$?
    rm -rf "$folder"
    return $status
}
trap 'stop; exit 130' INT TERM
trap 'stop' EXIT

say "asking the model; its engine starts with this request"
echo
/usr/bin/env python3 scripts/ask.py build/run/events.jsonl $daemon ||
    { tail -n 5 build/run/events.jsonl >&2; die "no answer"; }
echo

if [ "$mode" = demo ]; then
    stop || die "the daemon ended with status $?"
    left=$(grep -lsz "^POOLMGR_INSTANCE=" /proc/[0-9]*/environ 2>/dev/null | while read -r environ; do
        tr '\0' '\n' <"$environ" 2>/dev/null | grep -q "$folder" && echo "$environ"; done || true)
    [ -z "$left" ] || die "processes are left: $left"
    say "stopped; no process is left"
    exit 0
fi

say "serving until Ctrl-C; events are in build/run/events.jsonl"
wait $daemon
