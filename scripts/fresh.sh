#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes a fresh Debian 12 user land and follows the README there: `make demo` twice, as root and as a user with sudo;
# with FRESH_TEST=1 also `make test`. FRESH_KEEP=1 keeps the folder. Needs root or sudo; mmdebstrap is installed.
#
# What is tried is the last commit. Mounts and processes live in namespaces of their own, so that they are gone when
# this script is, however it ends; what is left to remove is one plain folder.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

# What this machine's apt needs to reach its archive: proxies, certificates, checks. The files it names are copied.
network_settings() {
    apt-config dump --no-empty | grep '^Acquire::' |
        grep -Ev '^Acquire::(IndexTargets|Changelogs|CompressionTypes|cdrom|GzipIndexes|Languages)' || true
    for kind in http https; do
        local variable=${kind}_proxy
        [ -z "${!variable:-}" ] || echo "Acquire::$kind::Proxy \"${!variable}\";"
    done
}

outside() {
    command -v mmdebstrap >/dev/null || {
        say "installing: mmdebstrap"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
    }
    [ -z "$(git status --porcelain --untracked-files=no)" ] || say "note: what is not committed is not tried"

    work=$(mktemp -d /var/tmp/poolmgr-fresh-XXXXXX)
    trap 'if [ -n "${FRESH_KEEP:-}" ]; then say "kept: $work"; else as_root rm -rf --one-file-system "$work"; fi' EXIT
    git archive --format=tar -o "$work/project.tar" HEAD
    network_settings >"$work/network.conf"
    as_root env FRESH_TEST="${FRESH_TEST:-}" TERM="${TERM:-dumb}" \
        unshare --mount --pid --fork --kill-child --propagation private scripts/fresh.sh inside "$work"
}

# Files of this machine that the fresh one needs to reach the network, at the same paths.
carry() {
    local file
    for file in "$@"; do
        [ -e "$file" ] || continue
        mkdir -p "$root$(dirname "$file")"
        cp -rL "$file" "$root$(dirname "$file")/"
    done
}

make_root() {
    local mirror begun=$SECONDS
    mirror=$(apt-get --print-uris update 2>/dev/null |
        sed -n "s,^'\(.*\)/dists/bookworm/InRelease'.*,\1,p" | sort -u | tail -n1)
    [ -n "$mirror" ] || die "this machine's apt sources have no archive with Debian 12 (bookworm)"
    say "making a fresh Debian 12"
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,make,sudo --aptopt="$work/network.conf" \
        bookworm "$root" "deb $mirror bookworm main"
    carry /etc/resolv.conf /etc/apt/auth.conf.d /usr/local/share/ca-certificates
    # shellcheck disable=SC2046
    carry $(sed -n 's/^Acquire::.*::\(CaInfo\|SslCert\|SslKey\) "\(.*\)";$/\2/p' "$work/network.conf")
    printf '127.0.0.1 localhost %s\n' "$(uname -n)" >"$root/etc/hosts"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    chroot "$root" update-ca-certificates >/dev/null 2>&1
    say "made in $((SECONDS - begun)) s; it has make, sudo and ca-certificates, and nothing else"
}

# as USER COMMAND: in that user's copy of the project, with an environment as after a login.
as() {
    local user=$1 home
    shift
    home=$(chroot "$root" getent passwd "$user" | cut -d: -f6)
    chroot "$root" env -i HOME="$home" LANG=C.UTF-8 TERM="$TERM" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        sudo -E -H -u "$user" bash -c "cd ~/poolmgr && $*"
}

timed() {
    local what=$1 begun=$SECONDS
    shift
    say "$what"
    "$@" || die "$what: failed"
    say "$what: $((SECONDS - begun)) s"
}

inside() {
    work=$1 root=$1/root
    make_root
    chroot "$root" useradd -m -s /bin/bash fox
    echo 'fox ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/fox"
    for home in root home/fox; do
        mkdir -p "$root/$home/poolmgr"
        tar -x -C "$root/$home/poolmgr" <"$work/project.tar"
    done
    chroot "$root" chown -R fox: /home/fox

    timed "make demo from nothing, as root" as root make demo
    timed "make demo again" as root make demo
    timed "make demo as a user with sudo" as fox make demo
    timed "make demo again, as that user" as fox make demo
    [ -z "${FRESH_TEST:-}" ] || timed "make test as root" as root make test
}

if [ "${1:-}" = inside ]; then inside "$2"; else outside; fi
