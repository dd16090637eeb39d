#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes a fresh Debian 12 user land and follows the README there: `make demo` twice, as root and as a user with sudo;
# with FRESH_TEST=1 also `make test` as root. Needs root (or sudo) and mmdebstrap or debootstrap, both Debian packages.
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

command -v mmdebstrap >/dev/null || { say "installing: mmdebstrap"; as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null; }

root=$(mktemp -d /var/tmp/poolmgr-fresh-XXXXXX)
finish() {
    for below in dev/pts dev/shm dev proc sys; do as_root umount -l "$root/$below" 2>/dev/null || true; done
    mountpoint -q "$root/proc" && die "$root/proc is still mounted; nothing is removed"
    [ -n "${FRESH_KEEP:-}" ] && { say "kept: $root"; return; }
    as_root rm -rf --one-file-system "$root"
}
trap finish EXIT

# The same archive that this machine uses.
mirror=$(apt-get --print-uris update 2>/dev/null | sed -n "s,^'\(.*\)/dists/bookworm/InRelease'.*,\1,p" | sort -u | tail -n1)
say "making a fresh Debian 12"
begun=$SECONDS
as_root mmdebstrap --quiet --variant=minbase --include=ca-certificates,make,sudo bookworm "$root" \
    "deb ${mirror:?no Debian archive in the apt sources} bookworm main"
say "made in $((SECONDS - begun)) s; it has make, sudo and ca-certificates, and nothing else"

as_root cp -L /etc/resolv.conf "$root/etc/resolv.conf"
as_root mount -t proc proc "$root/proc"
as_root mount --rbind /sys "$root/sys" && as_root mount --make-rslave "$root/sys"
as_root mount --rbind /dev "$root/dev" && as_root mount --make-rslave "$root/dev"

as_root chroot "$root" useradd -m -s /bin/bash fox
echo 'fox ALL=(ALL) NOPASSWD: ALL' | as_root tee "$root/etc/sudoers.d/fox" >/dev/null
for home in root home/fox; do
    as_root mkdir -p "$root/$home/poolmgr"
    git archive HEAD | as_root tar -x -C "$root/$home/poolmgr"
done
as_root chroot "$root" chown -R fox: /home/fox

inside() {      # inside USER COMMAND …
    local user=$1; shift
    as_root chroot "$root" env -i HOME="$([ "$user" = root ] && echo /root || echo "/home/$user")" LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" CI="${CI:-}" \
        sudo -E -H -u "$user" bash -c "cd ~/poolmgr && $*"
}
timed() { local begun=$SECONDS what=$1; shift; "$@"; say "$what: $((SECONDS - begun)) s"; }

timed "make demo from nothing, as root" inside root make demo
timed "make demo again" inside root make demo
timed "make demo as a user with sudo" inside fox make demo
timed "make demo again, as that user" inside fox make demo
[ -z "${FRESH_TEST:-}" ] || timed "make test" inside root make test
