#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usage: deps.sh build|run|test …
# Installs what is missing, and says what; when nothing is, it is silent and asks no network. Where there is no apt it
# names what is missing and the packages of other distributions.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

# package=how to see that it is there: a command, a .pc file, or a path (a pattern)
# shellcheck disable=SC2034  # these are used by name
{
build='gcc=gcc make=make pkg-config=pkg-config meson=meson ninja-build=ninja libc6-dev=/usr/include/stdio.h
       libyaml-dev=yaml-0.1.pc libjansson-dev=jansson.pc'
run='python3=python3'
# to fetch an engine from Debian's archive
engine='patchelf=patchelf gpgv=gpgv ca-certificates=/etc/ssl/certs/ca-certificates.crt
        debian-archive-keyring=/usr/share/keyrings/debian-archive-keyring.gpg'
test='libcmocka-dev=cmocka.pc python3=/usr/bin/python3 git=git
      curl=curl python3-pytest=/usr/lib/python3/dist-packages/pytest
      python3-pytest-bdd=/usr/lib/python3/dist-packages/pytest_bdd
      python3-pytest-xdist=/usr/lib/python3/dist-packages/xdist
      clang=clang libclang-rt-dev=/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a
      clang-format=clang-format g++=g++ valgrind=valgrind shellcheck=shellcheck'
}

there() {
    case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *.pc) pkg-config --exists "${1%.pc}" 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

sets=("$@")
# An engine of the user's own needs nothing of Debian's archive.
[[ " $* " == *" run "* && -z "${ENGINE:-}" ]] && sets+=(engine)

missing=()
for set in "${sets[@]}"; do
    for pair in ${!set}; do
        there "${pair#*=}" || missing+=("${pair%%=*}")
    done
done
[ ${#missing[@]} = 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    cat >&2 <<END
missing here, by Debian's names: ${missing[*]}
  Fedora  dnf install gcc make pkgconf-pkg-config meson ninja-build libyaml-devel jansson-devel python3
  Arch    pacman -S --needed gcc make pkgconf meson ninja libyaml jansson python
  others  a C compiler, make, pkg-config, meson, ninja, python3, and the headers of libyaml and jansson
llama-server is your own there:
  make run ENGINE=/path/to/llama-server MODEL=/path/to/model.gguf
END
    exit 1
fi

say "installing: ${missing[*]}"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
kept=
finish() {
    rm -f "$log"
    as_root rm -f $policy
    [ -z "$kept" ] || as_root mv "$kept" $policy
}
trap finish EXIT
# Services that come with a package are kept from starting; a policy that was there before is put back.
if [ -e $policy ]; then
    kept=$policy.before-poolmgr
    as_root mv $policy $kept
fi
printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
as_root chmod 755 $policy

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
# The lists may be missing or old: then they are fetched and it is tried once more.
install >"$log" 2>&1 || { as_root apt-get update -qq && install; } >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    die "apt-get could not install: ${missing[*]}"
}
