#!/usr/bin/env bash
# Builds and installs the library for C and C++.
set -euo pipefail

usage() {
    cat <<'END'
ffi/install.sh [--prefix=DIR] [--libdir=DIR] [--features=LIST] [--build | --uninstall]

Installs librtm.so and librtm.a, rtmv2.h and rtm.hpp, rtm.pc, a CMake package and man pages.

  --prefix=DIR   where to, absolute; /usr/local if not given
  --libdir=DIR   where the libraries go, absolute; PREFIX/lib if not given
  --features=LIST  cargo features to build with: probes (docs/tuning.md)
  --build        only builds: what then installs needs no cargo (sudo ffi/install.sh)
  --uninstall    removes what was installed with this prefix and libdir
  DESTDIR        (environment) goes before each path that is written, and into no file

A space does as well as '='.
Needs Rust and a C compiler with GNU binutils to build.
END
}

prefix=/usr/local libdir= features= what=install
while [ $# -gt 0 ]; do
    argument=$1
    shift
    case $argument in
        --prefix|--libdir|--features)
            if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
                argument=$argument=$1
                shift
            fi ;;
    esac
    case $argument in
        --prefix=/*) prefix=${argument#*=} ;;
        --libdir=/*) libdir=${argument#*=} ;;
        --features=*) features=${argument#*=} ;;
        --build) what=build ;;
        --uninstall) what=uninstall ;;
        --help) usage; exit ;;
        --prefix=*|--libdir=*) echo "install.sh: $argument: the path is not absolute" >&2; exit 2 ;;
        *) echo "install.sh: $argument?" >&2; usage >&2; exit 2 ;;
    esac
done
prefix=${prefix%/}
libdir=${libdir:-$prefix/lib}
libdir=${libdir%/}
includedir=$prefix/include mandir=$prefix/share/man/man3 docdir=$prefix/share/doc/rtm
dest=${DESTDIR:-}
dest=${dest%/}
# What is installed, a path a line.
manifest=$libdir/cmake/rtm/installed-files

cd "$(dirname "$0")/.."
package=ffi/package
target=${CARGO_TARGET_DIR:-target}
stage=$target/package-ffi

version=$(awk -F'"' '/^\[/ { inside = $0 == "[workspace.package]" } inside && /^version/ { print $2 }' Cargo.toml)
url=$(awk -F'"' '/^repository/ { print $2 }' Cargo.toml)
abi=$(awk '/^#define RTMX_ABI_NUMBER/ { print $3 }' include/rtmv2.h)
IFS=. read -r major minor patch <<<"$version"
# librtm.so.N.x.y: N is the ABI's number, the crate's major version is not in it.
soname=librtm.so.$abi
library=$soname.$minor.$patch

# One object of the whole archive in which only the API is global: it can be linked with another Rust library, of
# another rustc too. Its bitcode would be of no use to another compiler. Unused sections are for the program's link to
# leave out: --gc-sections beside -r makes strong references of weak ones (GNU ld 2.40 and objcopy).
make_static() {
    "$(command -v ld.bfd || echo ld)" -r --force-group-allocation --whole-archive "$1" -o "$stage/all.o"
    objcopy --remove-section=.llvmbc --remove-section=.llvmcmd --keep-global-symbols=include/rtm.symbols \
        "$stage/all.o" "$stage/rtm.o"
    rm -f "$stage/librtm.a"
    ar rcsD "$stage/librtm.a" "$stage/rtm.o"
}

# rustc's own link step cannot carry a version script beside the one it makes, so the library is linked here.
make_shared() {
    {
        echo "RTM_$abi {"
        echo "global:"
        sed 's/$/;/' include/rtm.symbols
        echo "local: *;"
        echo "};"
    } >"$stage/rtm.map"
    # shellcheck disable=SC2086
    "${CC:-cc}" -shared -o "$stage/$library" "$stage/rtm.o" \
        -Wl,-soname,"$soname" -Wl,--version-script="$stage/rtm.map" \
        -Wl,-z,nodelete,-z,defs,-z,relro,-z,now,-z,noexecstack,--gc-sections,--as-needed $native
}

native=$(sed '/^#/d; s/^/-l/' $package/native-libraries | tr '\n' ' ')
native=${native% }

build() {
    cargo build --release --locked -p rtm-ffi ${features:+--features "$features"}
    local archive=$target/release/librtm.a
    mkdir -p "$stage/man"
    if [ "$stage/built" -nt "$archive" ] && [ "$stage/built" -nt Cargo.lock ] &&
        [ -z "$(find include ffi/install.sh $package -newer "$stage/built")" ]; then
        return
    fi
    rm -f "$stage/built" "$stage/man"/* "$stage"/librtm.so*
    make_static "$archive"
    make_shared
    awk -v folder="$stage/man" -v version="$version" -f $package/man.awk include/rtmv2.h
    $package/notices.sh rtm-ffi "$features" >"$stage/NOTICES"
    local of_std
    of_std=$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html
    if [ -f "$of_std" ]; then
        cp "$of_std" "$stage/"
    else
        echo "install.sh: this Rust toolchain comes without $of_std: do not distribute what is installed without it" >&2
    fi
    touch "$stage/built"
}

# put MODE FILE [PATH]: copies a file to a path; the copy takes the old file's place at once.
put() {
    local to=$dest$3
    mkdir -p "$(dirname "$to")"
    install -m "$1" "$2" "$to.new"
    mv -f "$to.new" "$to"
    echo "$3" >>"$stage/installed"
}

put_link() {
    ln -sfn "$1" "$dest$2"
    echo "$2" >>"$stage/installed"
}

# put_made TEMPLATE PATH
put_made() {
    sed -e "s|@prefix@|$prefix|; s|@libdir@|$libdir|; s|@includedir@|$includedir|; s|@url@|$url|" \
        -e "s|@version@|$version|; s|@major@|$major|g; s|@minor@|$minor|g; s|@abi@|$abi|g" \
        -e "s|@native@|$native|; s|@native_cmake@|${native// /;}|; s|@include_from_lib@|$include_from_lib|" \
        "$package/$1" >"$stage/made"
    put 644 "$stage/made" "$2"
}

# Files that the list names and this one does not, and folders that are then empty.
remove() {
    local path folder
    while read -r path; do
        rm -f "$dest$path"
        folder=$(dirname "$path")
        while [ "$folder" != "$prefix" ] && [ "$folder" != / ] && rmdir "$dest$folder" 2>/dev/null; do
            folder=$(dirname "$folder")
        done
    done
}

install_all() {
    local include_from_lib page file
    include_from_lib=$(realpath -m --relative-to="$libdir" "$includedir")
    : >"$stage/installed"
    put 755 "$stage/$library" "$libdir/$library"
    put_link "$library" "$libdir/$soname"
    put_link "$soname" "$libdir/librtm.so"
    put 644 "$stage/librtm.a" "$libdir/librtm.a"
    for file in rtmv2.h rtm.hpp rtm/basic.hpp rtm/reading.hpp rtm/client_code.hpp rtm/entity.hpp; do
        put 644 "include/$file" "$includedir/$file"
    done
    put_made rtm.pc.in "$libdir/pkgconfig/rtm.pc"
    put_made rtm-config.cmake.in "$libdir/cmake/rtm/rtm-config.cmake"
    put_made rtm-config-version.cmake.in "$libdir/cmake/rtm/rtm-config-version.cmake"
    for page in "$stage"/man/*; do
        put 644 "$page" "$mandir/$(basename "$page")"
    done
    for file in LICENSE-MIT LICENSE-APACHE "$stage/NOTICES" "$stage/COPYRIGHT-library.html"; do
        [ ! -f "$file" ] || put 644 "$file" "$docdir/$(basename "$file")"
    done
    echo "$manifest" >>"$stage/installed"
    LC_ALL=C sort -o "$stage/installed" "$stage/installed"
    if [ -f "$dest$manifest" ]; then
        LC_ALL=C comm -13 "$stage/installed" <(LC_ALL=C sort "$dest$manifest") | remove
    fi
    install -m 644 "$stage/installed" "$dest$manifest"
    case $dest$libdir in
        /usr/lib*|/usr/local/lib*) [ "$(id -u)" != 0 ] || ldconfig ;;
    esac
}

if [ $what = uninstall ]; then
    [ -f "$dest$manifest" ] || { echo "install.sh: nothing is installed: there is no $dest$manifest" >&2; exit 1; }
    installed=$(<"$dest$manifest")
    remove <<<"$installed"
    exit
fi
if command -v cargo >/dev/null; then
    build
elif [ ! -f "$stage/built" ]; then
    echo "install.sh: there is no cargo; run 'ffi/install.sh --build' first as the user who has it" >&2
    exit 1
fi
[ $what = build ] || install_all
