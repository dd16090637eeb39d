#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: tests/hw/pack.sh DEST [--no-engine]
#   ENGINE_HOME=DIR   where the packed engine will be unpacked (/tmp/poolmgr-hw-engine): it is written into its programs
#
# Gathers everything that tests/hw/run needs in one folder, which then runs on any x86-64 machine with glibc 2.36 or
# newer, Python 3 and an NVIDIA driver: DEST/run. With it goes a llama-server with GGML's Vulkan backend, packed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -ge 1 ] || { sed -n '3,7p' "tests/hw/pack.sh" >&2; exit 2; }
dest=$(realpath -m "$1")
engine=true; [ "${2:-}" = --no-engine ] && engine=false
home=${ENGINE_HOME:-/tmp/poolmgr-hw-engine}
build=build/pack

say() { printf 'pack: %s\n' "$*" >&2; }

build_programs() {
    [ -e $build/build.ninja ] || meson setup $build -Dbuildtype=release -Dwerror=false >/dev/null
    ninja -C $build build.ninja >/dev/null # it may be older than the tree
    local name
    for name in orchestratord pool-managerd pool-shim pool-probe poolctl fault_engine hw libhwvram.so; do
        grep -oE "^build [^ :]*/$name:" $build/build.ninja | sed 's/^build //; s/:$//' || say "there is no $name yet"
    done >$build/programs
    xargs ninja -C $build -j2 <$build/programs >$build/log || { cat $build/log >&2; exit 1; }
}

# The libraries that a system may lack lie beside the programs, which look there first. libc is the system's.
gather() {
    local file library
    mkdir -p "$dest"
    while read -r file; do
        install -s "$build/$file" "$dest/"
        for library in $(ldd "$build/$file" | awk '/libjansson|libyaml/ {print $3}'); do
            cp -L "$library" "$dest/"
        done
        patchelf --set-rpath '$ORIGIN' "$dest/$(basename "$file")" 2>/dev/null || true # static ones have none
    done <$build/programs
    rm -rf "$dest/hwrun"
    cp -r tests/hw/run tests/hw/serve.py tests/hw/hwrun tools/make_tiny_gguf.py "$dest/"
    cp LICENSE "$dest/LICENSE.txt"
    rm -rf "$dest/hwrun/__pycache__"
    git log -1 --format=%H >"$dest/commit.txt"
}

# NVIDIA's Vulkan driver asks for libraries of a display, which a machine without one may lack: X11's, and libglvnd's
# libEGL, without which it gives no vkCreateInstance and no reason. They are this machine's release's, which run under
# the engine's libc and under that of most machines; what they need of Mesa is not needed here. strace tells what such a
# driver asked for where it gives nothing all the same.
display=(libegl1 libgl1 libgles2 libglvnd0 libglx0 libopengl0 libx11-6 libx11-xcb1 libxau6 libxcb1 libxdmcp6 libxext6
    libbsd0 libmd0 libdrm2 strace libunwind8 liblzma5)

# The place where the engine will lie is written into the one program that goes along; its libraries are found from there.
pack_engine() {
    local fetched=$PWD/$build/engine tree=$build/tree server deb
    tools/fetch_engine.sh "$fetched" libggml0-backend-vulkan >/dev/null
    rm -rf $tree
    mkdir -p $tree $build/display
    (cd $build/display && apt-get -qq -o APT::Sandbox::User= download "${display[@]}")
    tar -C "$fetched" --exclude='*/gconv/*' --exclude='usr/share' --exclude='*/ossl-modules/*' -c usr | tar -C $tree -x
    for deb in $build/display/*.deb; do dpkg-deb -x "$deb" $build/display/new; done
    server=$tree/usr/bin/llama-server
    find $tree/usr/bin -type f ! -name llama-server -delete
    mkdir $tree/usr/lib/display
    find $build/display/new -name '*.so.*' -exec mv {} $tree/usr/lib/display/ \;
    mv $build/display/new/usr/bin/strace $tree/usr/bin/
    rm -rf $build/display/new
    patchelf --set-interpreter "$home/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "$server"
    tar -C $tree -c usr | xz -9 -T2 >"$dest/engine.tar.xz"
    echo "$home" >"$dest/engine.home"
    rm -rf $tree
}

build_programs
gather
! $engine || pack_engine
say "$dest is $(du -sm "$dest" | cut -f1) MB"
