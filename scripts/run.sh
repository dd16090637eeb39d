#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: run.sh run|demo      MODEL=FILE ENGINE=FILE PORT=8080
# From nothing to a streamed answer: packages, build, engine, model, daemon, one request. `run` stays in the
# foreground until Ctrl-C; `demo` stops everything, proves that no process is left, and exits 0.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

mode=$1
port=${PORT:-$([ "$mode" = demo ] && echo 0 || echo 8080)}
events=build/run/events.jsonl
folder='' daemon='' asked=0

# Words and tools that are paths are looked for where the user stands; a bare name of a program in PATH.
find_parts() {
    if [ -n "${ENGINE:-}" ]; then
        engine=$(type -P "$ENGINE") || die "ENGINE=$ENGINE: no such program"
    else
        engine=$(tools/fetch_engine.sh build/engine)
    fi
    if [ -n "${MODEL:-}" ]; then
        model=$MODEL
        [ -r "$model" ] || die "MODEL=$model: no such file, or it cannot be read"
        case $model in /*) ;; *) model=./$model ;; esac # a colon in its name is no scheme
    else
        model=build/models/fox.gguf
        mkdir -p build/models
        [ -s "$model" ] || python3 tools/make_tiny_gguf.py "$model" >/dev/null
    fi
}

# The daemon has a session of its own, so that Ctrl-C reaches it once, through us.
start_daemon() {
    # Sockets' paths are at most 107 bytes long, so the runtime folder is a short one.
    folder=$(mktemp -d /tmp/poolmgr-XXXXXX)
    mkdir -p build/run
    POOLMGR_RUNTIME_DIR=$folder/run POOLMGR_STATE_DIR=$PWD/build/run/state POOLMGR_CACHE_DIR=$PWD/build/run/cache \
        POOLMGR_LOG_DIR=$PWD/build/run/log setsid build/release/src/bin/orchestratord \
        --model "$model" --engine "$engine" --listen "127.0.0.1:$port" --log-format json 2>"$events" &
    daemon=$!
}

# The first time running requests end first; the second time everything stops at once.
ask_to_stop() {
    asked=$((asked + 1))
    [ -z "$daemon" ] || kill -TERM "$daemon" 2>/dev/null || true
    [ $asked -gt 1 ] || [ "$mode" = demo ] || say "stopping; running requests end first (Ctrl-C again: at once)"
}

# Waits for the daemon's end, however often a signal interrupts that; its exit status.
wait_for_daemon() {
    local status=0
    while :; do
        status=0
        wait "$daemon" || status=$?
        kill -0 "$daemon" 2>/dev/null || return $status
    done
}

finish() {
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        ask_to_stop
        wait_for_daemon || true
    fi
    [ -z "$folder" ] || rm -rf "$folder"
}

scripts/deps.sh build run
say "building"
scripts/build.sh release
find_parts
trap finish EXIT
trap ask_to_stop INT TERM
start_daemon

say "asking the model; its engine starts with this request"
echo
python3 scripts/ask.py "$events" "$daemon" || {
    python3 scripts/tail_events.py "$events" >&2
    die "no answer; all events are in $events, the engine's words in build/run/log"
}
echo

if [ "$mode" = demo ]; then
    ask_to_stop
    wait_for_daemon || die "the daemon ended with status $?"
    left=$(python3 scripts/left_over.py "$folder")
    [ -z "$left" ] || die "processes are left: $left"
    say "stopped; no process is left"
else
    say "serving until Ctrl-C; events are in $events"
    wait_for_daemon || die "the daemon ended with status $?"
    say "stopped"
fi
