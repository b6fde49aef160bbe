#!/usr/bin/env bash
# Builds the examples as their README says, with the librtm that pkg-config and CMake find, and runs them: with gcc,
# with clang, under gcc's address sanitizer, and through CMake. Needs no source tree.
#
#   ffi/tests/examples.sh FOLDER [EXAMPLES]
#
#   FOLDER      where to build, emptied
#   EXAMPLES    where they are; the source tree's if not given
#
# A missing tool is said loudly; with CI set it is an error.
set -euo pipefail
examples=$(cd "${2:-$(dirname "$0")/../../examples}" && pwd)
rm -rf "$1"
mkdir -p "$1"
work=$(cd "$1" && pwd)

have() {
    command -v "$1" >/dev/null && return
    [ -z "${CI:-}" ] || { echo "examples.sh: there is no $1, and CI is set" >&2; exit 1; }
    echo "*** SKIPPED: there is no $1 ***" >&2
    return 1
}

# section NUMBER: the README's commands.
section() {
    awk -v wanted="$1" '/^```sh$/ { n++; inside = n == wanted; next } /^```$/ { inside = 0 } inside' \
        "$examples/README.md"
}

# The README's compilers, with warnings: functions, so that the README's lines are run as they are.
cc() { command "$c" -g -O1 -Wall -Wextra -Wpedantic -Werror $sanitizer "$@"; }
c++() { command "$cxx" -g -O1 -Wall -Wextra -Wpedantic -Werror $sanitizer "$@"; }

export -f cc c++

# in_readme_words NAME NUMBER: in a copy of the examples.
in_readme_words() {
    mkdir "$work/$1"
    cp "$examples"/*.{c,h,cpp} "$examples/CMakeLists.txt" "$work/$1"
    cd "$work/$1"
    local code=0
    timeout 300 bash -ec "$(section "$2")" >"$work/$1.log" 2>&1 || code=$?
    if [ $code != 0 ] || [ "$(grep -cE '^(ospf|router|host)' "$work/$1.log")" != 4 ]; then
        cat "$work/$1.log"
        echo "examples.sh: $1 failed (exit code $code)" >&2
        exit 1
    fi
    echo "examples: $1"
}

export c cxx sanitizer=
for pair in gcc:g++ clang:clang++; do
    c=${pair%:*} cxx=${pair#*:}
    have "$c" && have "$cxx" || continue
    in_readme_words "$c" 1
done
c=gcc cxx=g++ sanitizer=-fsanitize=address
! command -v $cxx >/dev/null || in_readme_words gcc$sanitizer 1
sanitizer=
! have cmake || in_readme_words cmake 2
