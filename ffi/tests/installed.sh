#!/usr/bin/env bash
# The installed package, used as strangers use it: files, ABI, the C tests with every compiler and standard through
# pkg-config and CMake, the examples, beside another Rust library, through bindgen and cffi. Installs into a folder of
# its own.
#
#   ffi/tests/installed.sh [FOLDER]    FOLDER: where to build, emptied and kept; a temporary one if not given
#
# A missing tool is said loudly; with CI set it is an error.
set -euo pipefail # and so no `| grep -q`, which ends before what it reads from
cd "$(dirname "$0")/../.."
tests=$PWD/ffi/tests
if [ $# -gt 0 ]; then
    rm -rf "$1"
    mkdir -p "$1"
    work=$(cd "$1" && pwd)
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
prefix=$work/prefix

fail() {
    echo "installed.sh: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null && return
    [ -z "${CI:-}" ] || fail "there is no $1, and CI is set"
    echo "*** SKIPPED: there is no $1 ***" >&2
    return 1
}

began=$SECONDS
part() {
    local start=$SECONDS
    "$@"
    echo "installed: $1, $((SECONDS - start)) s"
}

# --- What is there ---

installs_and_uninstalls() {
    local staged=$work/staged
    rm -rf "$prefix" "$staged"
    DESTDIR=$staged ffi/install.sh --prefix=/usr --libdir=/usr/lib/multi/arch
    grep -qx 'libdir=/usr/lib/multi/arch' "$staged/usr/lib/multi/arch/pkgconfig/rtm.pc"
    ! grep -rqF "$staged" "$staged/usr/lib/multi/arch/cmake" "$staged/usr/lib/multi/arch/pkgconfig" ||
        fail "DESTDIR is in a file"
    # What an older version has left goes with the next.
    touch "$staged/usr/lib/multi/arch/librtm.so.0.9.9"
    echo /usr/lib/multi/arch/librtm.so.0.9.9 >>"$staged/usr/lib/multi/arch/cmake/rtm/installed-files"
    DESTDIR=$staged ffi/install.sh --prefix /usr --libdir /usr/lib/multi/arch
    [ ! -e "$staged/usr/lib/multi/arch/librtm.so.0.9.9" ] || fail "an older library is still there"
    DESTDIR=$staged ffi/install.sh --prefix=/usr --libdir=/usr/lib/multi/arch --uninstall
    [ -z "$(find "$staged" ! -type d)" ] || fail "left: $(find "$staged" ! -type d)"
    # What is no option, or no path, changes nothing.
    for wrong in --prefix=relative "--prefix relative" --prefix --libdir --features --prefux=/usr; do
        # shellcheck disable=SC2086
        ! DESTDIR=$staged ffi/install.sh $wrong >"$work/wrong" 2>&1 || fail "install.sh takes $wrong"
        grep -q '^install.sh: --' "$work/wrong" || fail "install.sh does not say what is wrong with $wrong"
    done
    [ -z "$(find "$staged" ! -type d)" ] || fail "written: $(find "$staged" ! -type d)"
    ffi/install.sh --prefix="$prefix"
}

libraries_export_the_api_alone() {
    local shared=$prefix/lib/librtm.so.1
    nm -D --defined-only "$shared" | awk '$2 != "A" { print $3 }' | LC_ALL=C sort >"$work/exports"
    sed 's/$/@@RTM_1/' include/rtm.symbols | LC_ALL=C sort | diff - "$work/exports" ||
        fail "librtm.so does not export what include/rtm.symbols says, as RTM_1"
    nm -g --defined-only "$prefix/lib/librtm.a" | awk 'NF == 3 { print $3 }' | LC_ALL=C sort |
        diff <(LC_ALL=C sort include/rtm.symbols) - || fail "librtm.a has other global symbols"
    ! readelf -SW "$prefix/lib/librtm.a" | grep -E ' \.llvm(bc|cmd) ' >/dev/null || fail "librtm.a has bitcode"
    readelf -dW "$shared" >"$work/dynamic"
    grep -q 'SONAME.*\[librtm\.so\.1\]' "$work/dynamic" || fail "no soname"
    grep -q 'NODELETE' "$work/dynamic" || fail "librtm.so can be unloaded"
    ! grep -q 'TEXTREL' "$work/dynamic" || fail "librtm.so has text relocations"
    # std's own list, but for what compiler drivers bring.
    rustc --crate-type staticlib --print native-static-libs -o "$work/empty.a" - </dev/null 2>&1 |
        sed -n 's/^note: native-static-libs: //p' | tr ' ' '\n' | grep -vx -e -lgcc_s -e -lc |
        diff <(sed '/^#/d; s/^/-l/' ffi/package/native-libraries) - || fail "native-libraries is not what rustc says"
}

pages_and_notices() {
    local page name
    for name in $(grep '^Rtmx' include/rtm.symbols); do
        page=$prefix/share/man/man3/$name.3
        grep -q '^\.SH RETURN VALUE' "$page" || fail "$page is not complete"
        if have man; then
            man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>"$work/man" >/dev/null
            [ ! -s "$work/man" ] || fail "$page: $(cat "$work/man")"
        fi
    done
    # The line of an example is not filled.
    grep -qx 'handle=.* id=.* state=.*' "$prefix/share/man/man3/RtmxFormatEntities.3" &&
        grep -B1 '^handle=' "$prefix/share/man/man3/RtmxFormatEntities.3" | grep -x '\.nf' >/dev/null || fail "an example is filled"
    [ "$(ls "$prefix/share/man/man3" | wc -l)" = "$(grep -c '^Rtmx' include/rtm.symbols)" ] || fail "more pages"
    for name in crossbeam-epoch crossbeam-utils libc; do
        grep -q "^======== $name v.*LICENSE" "$prefix/share/doc/rtm/NOTICES" || fail "no notice of $name"
    done
    # What is linked in with a feature alone is named with it alone.
    ffi/package/notices.sh rtm-ffi >"$work/notices"
    ! grep -q '^======== probe v' "$work/notices" || fail "a notice of what is not linked in"
    ffi/package/notices.sh rtm-ffi probes >"$work/notices"
    grep -q '^======== probe v' "$work/notices" || fail "no notice of what the feature probes links in"
    [ -s "$prefix/share/doc/rtm/COPYRIGHT-library.html" ] || fail "no notices of Rust's standard library"
}

abi() {
    have abidw || return 0
    ffi/tests/abi.sh
}

# --- C and C++ ---

programs=$(sed -n '/^pub(super) const PROGRAMS/,/^];/s/^    "\(.*\)",$/\1/p' ffi/tests/c/compile.rs)
[ "$(wc -w <<<"$programs")" -ge 20 ] || fail "compile.rs has lost its programs"

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
# Each program repeats what it repeats less.
export RTM_TEST_DIVISOR=${RTM_TEST_DIVISOR:-20}

# compile COMPILER LANGUAGE STANDARD SOURCE
compile() {
    # shellcheck disable=SC2046
    "$1" -x "$2" -std="$3" -Wall -Wextra -pedantic -Werror -pthread -fPIC $(pkg-config --cflags rtm) -I"$tests/c" \
        -c "$tests/$4" -o "$work/pc/$1-$3/$(basename "${4%.c*}").o"
}

# link COMPILER STANDARD KIND PROGRAM
link() {
    local folder=$work/pc/$1-$2 libs
    if [ "$3" = shared ]; then
        libs="$(pkg-config --libs rtm) -Wl,-rpath,$prefix/lib"
    else
        libs=$(pkg-config --variable=static_libs rtm)
    fi
    # shellcheck disable=SC2086
    "$1" -pthread "$folder/$4.o" -o "$folder/$4-$3" $libs
}

# run FOLDER KIND PROGRAM: one line and 0.
run() {
    local arguments=() library=1
    [ "$2" = shared ] || library=2
    case $3 in
        dlopen) arguments=("$prefix/lib/librtm.so.1" $library) ;;
        plugin) arguments=("$1/plugin_client.so" 100) ;;
    esac
    timeout 60 "$1/$3-$2" "${arguments[@]}" >"$1/$3-$2.log" 2>&1 && [ "$(wc -l <"$1/$3-$2.log")" = 1 ] || {
        cat "$1/$3-$2.log"
        echo "installed.sh: $1/$3-$2 failed"
        return 1
    }
}

export -f compile link run
export work tests prefix

at_once() { # arguments of a function and its name, a line each
    xargs -P "$(nproc)" -L 1 bash -c '"$@" || exit 255' at_once
}

through_pkg_config() {
    local compiler language standard program kind
    for pair in c:gcc c:clang c++:g++ c++:clang++; do
        language=${pair%%:*} compiler=${pair##*:}
        have "$compiler" || continue
        for standard in $([ "$language" = c ] && echo c99 c11 c2x || echo c++17 c++20); do
            mkdir -p "$work/pc/$compiler-$standard"
            for program in $programs plugin_client; do
                echo "compile $compiler $language $standard c/$program.c"
            done >>"$work/compile"
            # The programs of rtm.hpp whose names the C programs do not have.
            if [ "$language" = c++ ]; then
                for program in basics life; do
                    echo "compile $compiler $language $standard cpp/$program.cc" >>"$work/compile"
                    echo "link $compiler $standard shared $program" >>"$work/link"
                    echo "run $work/pc/$compiler-$standard shared $program" >>"$work/run"
                done
            fi
            # All programs once shared and once static; elsewhere those that say most for their time.
            for kind in shared static; do
                case $compiler-$standard-$kind in
                    gcc-c11-shared|clang++-c++20-static) set -- $programs ;;
                    *) set -- layout misuse methods dlopen ;;
                esac
                for program; do
                    echo "link $compiler $standard $kind $program" >>"$work/link"
                    echo "run $work/pc/$compiler-$standard $kind $program" >>"$work/run"
                done
            done
        done
    done
    at_once <"$work/compile"
    for compiler in "$work"/pc/*; do
        cc -shared "$compiler/plugin_client.o" -o "$compiler/plugin_client.so"
    done
    at_once <"$work/link"
    at_once <"$work/run"
    ldd "$work/pc/gcc-c11/layout-shared" | grep "librtm.so.1 => $prefix/lib/librtm.so.1" >/dev/null || fail "another library"
    ! ldd "$work/pc/gcc-c11/layout-static" | grep librtm >/dev/null || fail "static is shared"
}

through_cmake() {
    have cmake || return 0
    local build language standard compiler some="layout methods event_queues" program kind
    for combination in C:11:gcc CXX:17:clang++; do
        IFS=: read -r language standard compiler <<<"$combination"
        have "$compiler" || continue
        build=$work/cmake/$language$standard
        mkdir -p "$build"
        cmake -S "$tests/installed" -B "$build" -DLANGUAGE="$language" -DSTANDARD="$standard" \
            -DCMAKE_"$language"_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix" \
            -DPROGRAMS="${some// /;}" >"$build.log" 2>&1 && cmake --build "$build" -j "$(nproc)" >>"$build.log" 2>&1 ||
            { cat "$build.log"; fail "cmake $combination"; }
        for program in $some; do
            for kind in shared static; do
                echo "run $build $kind $program"
            done
        done | at_once
    done
    # A version that this one does not replace is refused.
    if cmake -S "$tests/installed" -B "$work/cmake/newer" -DLANGUAGE=C -DSTANDARD=11 -DPROGRAMS= -DVERSION=0.2 \
        -DCMAKE_PREFIX_PATH="$prefix" >"$work/cmake/newer.log" 2>&1; then
        fail "find_package(rtm 0.2) has found this version"
    fi
    grep -q 'requested version "0.2"' "$work/cmake/newer.log" ||
        { cat "$work/cmake/newer.log"; fail "find_package(rtm 0.2) failed otherwise"; }
}

# README's program for C++, built with CMake in README's words.
readme_in_cpp() {
    have cmake || return 0
    local folder=$work/readme language
    mkdir -p "$folder"
    for language in cpp:client.cpp cmake:CMakeLists.txt; do
        awk -v fence="\`\`\`${language%:*}" '$0 == "```" { inside = 0 } inside; $0 == fence { inside = 1 }' README.md \
            >"$folder/${language#*:}"
    done
    (cd "$folder" && cmake -B build -DCMAKE_PREFIX_PATH="$prefix" && cmake --build build && build/client) \
        >"$folder/log" 2>&1 || { cat "$folder/log"; fail "README's program for C++"; }
}

# rtm.hpp with clang's own standard library. What stands before it is libgcc's unwinder: a thread that ends by
# pthread_exit is unwound by that one, and LLVM's does not understand it (a program without librtm crashes likewise).
through_libcxx() {
    have clang++ || return 0
    local unwinder=(-Wl,--no-as-needed -lgcc_s -Wl,--as-needed) folder standard kind program
    if ! clang++ -stdlib=libc++ -x c++ -fsyntax-only - <<<'#include <optional>' 2>/dev/null; then
        have "libc++ (Debian: apt-get install libc++-dev libc++abi-dev)"
        return 0
    fi
    for standard in c++17 c++20; do
        kind=static
        [ $standard = c++20 ] || kind=shared
        folder=$work/libc++/$standard
        mkdir -p "$folder"
        for program in "$tests"/cpp/*.cc examples/router.cpp; do
            # shellcheck disable=SC2046
            clang++ -stdlib=libc++ -std=$standard -O1 -Wall -Wextra -pedantic -Werror -pthread \
                $(pkg-config --cflags rtm) "$program" -o "$folder/$(basename "${program%.*}")-$kind" "${unwinder[@]}" \
                $([ $kind = static ] && pkg-config --variable=static_libs rtm ||
                    echo "$(pkg-config --libs rtm) -Wl,-rpath,$prefix/lib")
            echo "run $folder $kind $(basename "${program%.*}")"
        done | at_once
        ldd "$folder/life-$kind" | grep 'libc++\.so' >/dev/null || fail "another standard library than libc++"
    done
}

examples() {
    LD_LIBRARY_PATH=$prefix/lib CMAKE_PREFIX_PATH=$prefix ffi/tests/examples.sh "$work/examples"
    cargo run --locked -q -p rtm-examples --bin backend
}

# --- Others' tools ---

# Another rustc than ours: Debian's, or one of rustup's.
another_rustc() {
    local ours rustc
    ours=$(rustc --version)
    for rustc in /usr/bin/rustc "${RUSTUP_HOME:-$HOME/.rustup}"/toolchains/*/bin/rustc; do
        if [ -x "$rustc" ] && [ "$($rustc --version)" != "$ours" ]; then
            echo "$rustc"
            return
        fi
    done
    have "a second rustc (Debian: apt-get install rustc)"
}

beside_another_rust_library() {
    local other second rustc
    second=$(another_rustc) || [ -z "${CI:-}" ]
    for rustc in rustc ${second:+"$second"}; do
        other=$work/$(basename "$(mktemp -u "$work/XXXXXX")")
        mkdir "$other"
        "$rustc" --edition 2018 -O --crate-type staticlib "$tests/installed/other.rs" -o "$other/libother.a"
        # shellcheck disable=SC2046
        cc -pthread $(pkg-config --cflags rtm) -I"$tests/c" "$tests/installed/beside.c" -o "$other/beside-static" \
            $(pkg-config --variable=static_libs rtm) "$other/libother.a" $(pkg-config --libs-only-l --static rtm |
            sed 's/-lrtm//')
        "$other/beside-static" >"$other/log" 2>&1 || { cat "$other/log"; fail "beside a library of $("$rustc" -V)"; }
        echo "beside a library of $("$rustc" --version)"
    done
}

through_bindgen() {
    have bindgen || return 0
    # bindgen 0.60 does not understand how clang 16 and later name what has no name: the oldest one.
    local clang
    clang=$(ls -d /usr/lib/llvm-*/lib/libclang*.so* 2>/dev/null | sort -V | head -1)
    LIBCLANG_PATH=${LIBCLANG_PATH:-${clang%/*}} bindgen "$prefix/include/rtmv2.h" -o "$work/bindings.rs"
    BINDINGS=$work/bindings.rs rustc --edition 2021 --test "$tests/installed/bindings.rs" -o "$work/bindings" \
        -L "$prefix/lib" -lrtm -C link-arg=-Wl,-rpath,"$prefix/lib"
    "$work/bindings" >"$work/bindings.log" 2>&1 || { cat "$work/bindings.log"; fail "bindings"; }
    tail -2 "$work/bindings.log" | grep 'test result'
}

through_cffi() {
    if ! python3 -c 'import cffi' 2>/dev/null; then
        have "Python's cffi (Debian: apt-get install python3-cffi)"
        return 0
    fi
    python3 "$tests/installed/with_cffi.py" "$prefix/include" "$prefix/lib/librtm.so.1"
}

part installs_and_uninstalls
part libraries_export_the_api_alone
part pages_and_notices
part abi
part through_pkg_config
part through_cmake
part readme_in_cpp
part through_libcxx
part examples
part beside_another_rust_library
part through_bindgen
part through_cffi
echo "installed: all, $((SECONDS - began)) s"
