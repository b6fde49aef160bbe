#!/usr/bin/env bash
# Builds the packages, lets lintian look at them, and installs them into a clean Debian of the host's release, where the
# examples are built and run against them. Needs lintian and mmdebstrap, root or user namespaces, and Debian's mirror.
#
#   debian/test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
start=$SECONDS
part() {
    echo "debian/test.sh: $1, $((SECONDS - start)) s"
    start=$SECONDS
}

debian/build.sh >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
packages=("${CARGO_TARGET_DIR:-target}"/debian/{librtm1,librtm-dev,rtm-tools}_*.deb)
part build
lintian --fail-on error "${packages[@]}"
part lintian

if ! unshare --mount true 2>/dev/null; then
    echo "debian/test.sh: no clean root, for this process may not mount"
    exit 0
fi

# What is run in the clean Debian, in whose /root the packages are.
cat >"$work/inside" <<'END'
set -eux
export DEBIAN_FRONTEND=noninteractive
find / -xdev -path /root -prune -o -path /tmp -prune -o -print | sort >/root/before
apt-get -q install -y --no-install-recommends /root/*.deb
/root/examples.sh /root/examples /usr/share/doc/librtm-dev/examples
cd /root/examples/gcc
cc -std=c11 client.c -o client-static $(pkg-config --cflags rtm) $(pkg-config --variable=static_libs rtm)
! ldd ./client-static | grep librtm || exit 1
ldd ./client | grep "librtm.so.1 => /lib/"
./client-static
for via in c so; do
    rtm-load --seconds 1 --entities 20000 --via $via >/root/load || { cat /root/load; exit 1; }
    grep "via $via" /root/load
done
apt-get -q purge -y librtm1 librtm-dev rtm-tools
find / -xdev -path /root -prune -o -path /tmp -prune -o -print | sort >/root/after
comm -13 /root/before /root/after >/root/left
! grep rtm /root/left || exit 1
END

# The host's mirrors of Debian, and how it reaches them.
sources=(/etc/apt/sources.list.d/debian.sources)
[ -f "${sources[0]}" ] || sources=(/etc/apt/sources.list)
apt-config dump | grep -E '^Acquire::https?' >"$work/apt" || true
echo 'Acquire::Retries "5";' >>"$work/apt"
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mmdebstrap --variant=minbase --format=null --aptopt="$work/apt" --include=gcc,g++,pkg-config,cmake,make \
    --customize-hook="copy-in ${packages[*]} ffi/tests/examples.sh $work/inside /root" \
    --customize-hook='chroot "$1" env -u CI HOME=/root bash /root/inside' \
    "$release" /dev/null "${sources[@]}" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
grep -E '^(examples:|rtm-load:|ospf)' "$work/log"
part "clean root"
