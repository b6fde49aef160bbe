#!/usr/bin/env bash
# Builds librtm1, librtm-dev and rtm-tools into target/debian, for the architecture and the Debian it runs on.
#
#   debian/build.sh
#
# Needs debhelper and help2man, and Rust: with cargo's in PATH and its crates fetched (cargo fetch) it needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(awk -F'"' '/^\[/ { inside = $0 == "[workspace.package]" } inside && /^version/ { print $2 }' Cargo.toml)
packaged=$(dpkg-parsechangelog -S Version)
[ "${packaged%-*}" = "$version" ] || {
    echo "build.sh: debian/changelog is about $packaged, Cargo.toml about $version" >&2
    exit 1
}
export RTM_DEBS=${CARGO_TARGET_DIR:-$PWD/target}/debian
rm -rf "$RTM_DEBS"
mkdir -p "$RTM_DEBS"
dpkg-buildpackage -b -us -uc -tc --buildinfo-option=-u"$RTM_DEBS" --buildinfo-file="$RTM_DEBS/rtm.buildinfo" \
    --changes-option=-u"$RTM_DEBS" --changes-file="$RTM_DEBS/rtm.changes"
ls "$RTM_DEBS"/*.deb
