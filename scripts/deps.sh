#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: deps.sh build|run|test …
# Installs what is missing, and says what; when nothing is, it is silent and asks no network. On other distributions
# than Debian and Ubuntu it names the packages.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

# package, and how to see that it is there: a command, or .pc file, or file
# shellcheck disable=SC2034  # used by name
build='gcc=gcc make=make pkg-config=pkg-config meson=meson ninja-build=ninja libc6-dev=/usr/include/stdio.h
       libyaml-dev=yaml-0.1.pc libjansson-dev=jansson.pc'
# shellcheck disable=SC2034
run='patchelf=patchelf python3=/usr/bin/python3 ca-certificates=/etc/ssl/certs/ca-certificates.crt
     gpgv=gpgv debian-archive-keyring=/usr/share/keyrings/debian-archive-keyring.gpg'
# shellcheck disable=SC2034
test='libcmocka-dev=cmocka.pc python3-pytest=/usr/lib/python3/dist-packages/pytest
      python3-pytest-bdd=/usr/lib/python3/dist-packages/pytest_bdd
      python3-pytest-xdist=/usr/lib/python3/dist-packages/xdist
      clang=clang libclang-rt-14-dev=/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a
      clang-format=clang-format g++=g++ valgrind=valgrind shellcheck=shellcheck libhttp-parser-dev=/usr/include/http_parser.h
      nginx-light=nginx haproxy=haproxy prometheus=promtool'

there() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *.pc) pkg-config --exists "${1%.pc}" 2>/dev/null ;;
    *) command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] ;;
    esac
}

missing=()
for set in "$@"; do
    # A user's own engine and model need nothing of Debian's archive.
    [ "$set" = run ] && [ -n "${ENGINE:-}" ] && [ -n "${MODEL:-}" ] && continue
    for pair in ${!set}; do
        there "${pair#*=}" || missing+=("${pair%%=*}")
    done
done
[ ${#missing[@]} = 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    cat >&2 <<END
These are missing, by Debian's names: ${missing[*]}
  Fedora: dnf install gcc make pkgconf-pkg-config meson ninja-build libyaml-devel jansson-devel python3
  Arch:   pacman -S --needed gcc make pkgconf meson ninja libyaml jansson python
The engine is your own there: make run ENGINE=/path/to/llama-server MODEL=/path/to/model.gguf
END
    exit 1
fi

say "installing: ${missing[*]}"
# Services that come with a package (nginx, prometheus) are kept from starting.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
    trap 'as_root rm -f $policy' EXIT
fi
install() { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; }
log=$(mktemp)
install >"$log" 2>&1 || {
    as_root apt-get update -qq >>"$log" 2>&1
    install >>"$log" 2>&1
} || { tail -n 30 "$log" >&2; die "apt-get could not install: ${missing[*]}"; }
rm -f "$log"
