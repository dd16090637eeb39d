#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: build.sh release|bench|asan|plain|tsan|fuzz      builds into build/<name>
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=$1
case $name in
release) options=(-Dbuildtype=release -Dtests=false -Dwerror=false) ;; # a newer compiler may warn of more
bench) options=(-Dbuildtype=release -Dbench=true) ;;
asan) options=('-Db_sanitize=address,undefined' -Doptimization=1) ;;
plain) options=(-Dbuildtype=release -Ddebug=true) ;;
tsan) export CC=clang; options=(-Db_sanitize=thread -Doptimization=1 -Db_lundef=false) ;;
fuzz) export CC=clang; options=(-Dfuzzers=true '-Db_sanitize=address,undefined' -Db_lundef=false) ;;
*) die "no build '$name'" ;;
esac

log=build/$name.log
mkdir -p build
[ -e "build/$name/build.ninja" ] || meson setup "build/$name" "${options[@]}" >"$log" 2>&1 ||
    { cat "$log" >&2; rm -rf "build/$name"; die "meson could not set up build/$name"; }
if ! ninja -C "build/$name" >"$log" 2>&1; then
    grep -v '^\[' "$log" >&2 || true
    die "build/$name failed; all of it is in $log"
fi
