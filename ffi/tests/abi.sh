#!/usr/bin/env bash
# The ABI as the header says it (layouts, signatures, values of constants, symbol versions) against the committed dump.
#
#   ffi/tests/abi.sh             compares include/rtmv2.h, and shows that a break would be noticed
#   ffi/tests/abi.sh HEADER      compares another header
#   RTM_BLESS=1 ffi/tests/abi.sh writes the dump anew
#
# What is dumped is a library made from the header alone, each function of it empty: Rust's debug information changes
# with the compiler. That the installed library has these functions, and the structures these layouts, is checked
# elsewhere (installed.sh, c/layout.c).
set -euo pipefail
cd "$(dirname "$0")/../.."
committed=include/rtm.abi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

dump() { # HEADER OUTPUT
    local abi
    abi=$(awk '/^#define RTMX_ABI_NUMBER/ { print $3 }' "$1")
    {
        echo '#include "rtmv2.h"'
        awk '/^RTM_API/ { inside = 1 } inside { sub(/;$/, " { return 0; }"); print } / }$/ { inside = 0 }' "$1"
        echo 'typedef enum RTM_CONSTANTS {'
        # A header that a compiler has read has no constant twice: one line each.
        awk '/^#define [A-Z][A-Z0-9_]* +(0x)?[0-9]/ { print "    VALUE_OF_" $2 " = " $2 "," }' "$1"
        echo '} RTM_CONSTANTS;'
        echo 'RTM_CONSTANTS RtmConstants(void) { return VALUE_OF_RTMX_ABI_NUMBER; }'
    } >"$work/rtm.c"
    cp "$1" "$work/rtmv2.h"
    echo "RTM_$abi { global: Rtm*; local: *; };" >"$work/rtm.map"
    (cd "$work" && cc -g -fPIC -shared -I. -o librtm.so rtm.c -Wl,-soname,"librtm.so.$abi" -Wl,--version-script=rtm.map)
    abidw --no-comp-dir-path --no-corpus-path --no-show-locs --type-id-style hash "$work/librtm.so" >"$2"
}

compare() { # HEADER
    local code=0
    dump "$1" "$work/now.abi"
    abidiff "$committed" "$work/now.abi" >"$work/report" 2>&1 || code=$?
    [ $code != 0 ] || return 0
    cat "$work/report"
    if [ $((code & 8)) != 0 ] || ! grep -q '^Functions changes summary: 0 Removed, 0 Changed' "$work/report"; then
        echo "THE ABI BREAKS: a program built against the older header may not run with this library."
        echo "Undo it, or change RTMX_ABI_NUMBER and with it the soname. The older ABI is $committed."
        echo "No break: a structure that is passed with its size and has grown at its end."
    else
        echo "The ABI has grown."
    fi
    echo "RTM_BLESS=1 ffi/tests/abi.sh commits to what is now."
    return 1
}

# A break of each kind, made with sed, must be found.
must_break() { # WHAT SED-SCRIPT
    sed -E "$2" include/rtmv2.h >"$work/broken.h"
    if cmp -s include/rtmv2.h "$work/broken.h"; then
        echo "abi.sh: nothing to edit for: $1"
        return 1
    fi
    if compare "$work/broken.h" >"$work/log"; then
        echo "abi.sh: a break was not noticed: $1"
        return 1
    fi
    grep -q 'THE ABI BREAKS' "$work/log" || { echo "abi.sh: not called a break: $1"; cat "$work/log"; return 1; }
}

if [ -n "${RTM_BLESS:-}" ]; then
    dump include/rtmv2.h $committed
    exit
fi
compare "${1:-include/rtmv2.h}"
[ $# = 0 ] || exit 0
must_break "a member's type" 's/^    USHORT RtmInstanceId;/    ULONG RtmInstanceId;/'
must_break "a parameter's type" 's/^RTM_API DWORD RtmxSynchronize\(void\)/RTM_API DWORD RtmxSynchronize(UINT More)/'
must_break "a function less" '/^RTM_API DWORD RtmxSynchronize/d'
must_break "a constant's value" 's/^#define ERROR_BUSY 170/#define ERROR_BUSY 171/'
must_break "an event's number" 's/^    RTM_ENTITY_DEREGISTERED = 1/    RTM_ENTITY_DEREGISTERED = 7/'
echo "the ABI is that of $committed"
