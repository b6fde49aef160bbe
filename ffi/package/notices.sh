#!/usr/bin/env bash
# Prints the licence notices of the crates that are linked into librtm, or into the programs of another package of
# this workspace, and says where those of Rust's standard library are: notices.sh [PACKAGE [FEATURES]]. FEATURES are
# those that are built besides the default ones: with probes there is one crate more. Run in the workspace.
set -euo pipefail
package=${1:-rtm-ffi} features=${2:-}
# In the workspace a feature is named with its package.
features=${features:+$package/${features//,/,$package/}}

# name version -> folder, of all that cargo knows here: a crate's own manifest says who it is.
declare -A folders
while read -r manifest; do
    who=$(awk -F'"' '/^\[/ { inside = $0 == "[package]" }
        inside && /^name *=/ { name = $2 }
        inside && /^version *=/ { version = $2 }
        END { print name, "v" version }' "$manifest")
    folders[$who]=$(dirname "$manifest")
done < <(cargo metadata --format-version 1 --locked ${features:+--features "$features"} | grep -o '"manifest_path":"[^"]*"' | cut -d'"' -f4)

echo "The following is linked in besides rtm's own code, each under the licence named with it."
echo "Rust's standard library ($(rustc --version)) is under MIT or Apache-2.0; the notices of its parts are in"
echo "COPYRIGHT-library.html beside this file."
while IFS='|' read -r name version licence; do
    folder=${folders[$name $version]:-}
    notices=()
    [ -z "$folder" ] || mapfile -t notices < <(find "$folder" -maxdepth 1 -type f \
        \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'copyright*' -o -iname 'notice*' \) | LC_ALL=C sort)
    if [ -z "$licence" ] || [ ${#notices[@]} = 0 ]; then
        echo "$name $version: no licence (${licence:-none named}) or no notice in ${folder:-any folder}" >&2
        exit 1
    fi
    for notice in "${notices[@]}"; do
        printf '\n======== %s %s (%s): %s\n\n' "$name" "$version" "$licence" "$(basename "$notice")"
        cat "$notice"
    done
done < <(cargo tree -p "$package" --locked ${features:+--features "$features"} -e normal,no-proc-macro --prefix none --no-dedupe --format '{p}|{l}' |
    grep -v '^rtm-' | sed -E 's/^([^ ]+) ([^ |]+)[^|]*/\1|\2/' | LC_ALL=C sort -u)
