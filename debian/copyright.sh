#!/usr/bin/env bash
# debian/copyright with the notices of what is linked into a cargo package's libraries and programs. Where a licence
# may be chosen it is MIT, so that the texts of the others are left out.
#
#   debian/copyright.sh PACKAGE
set -euo pipefail
cd "$(dirname "$0")/.."
awk '/^$/ { exit } 1' debian/copyright
echo "Comment: Of several licences MIT is chosen. COPYRIGHT-library.html is in the folders of librtm1 and rtm-tools."
ffi/package/notices.sh "$1" | awk '
    /^======== / {
        if ($0 !~ /\(.*MIT.*\)/) { print "copyright.sh: not MIT: " $0 >"/dev/stderr"; exit 1 }
        inside = $NF !~ /APACHE|COPYING|UNLICENSE/
    }
    NR <= 3 || inside { print ($0 == "" ? " ." : " " $0) }'
awk 'inside; /^$/ && !inside { inside = 1; print }' debian/copyright
