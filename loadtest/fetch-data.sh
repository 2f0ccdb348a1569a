#!/bin/sh
# Fetches real data for `hubbub-loadtest replay`: the files of vega-datasets (CSV, JSON, GeoJSON).
# Usage: fetch-data.sh DIR. Does nothing if DIR holds them already.
set -eu

version=3.2.1
dir=${1:?usage: fetch-data.sh DIR}
stamp="$dir/.vega-datasets-$version"

if [ -e "$stamp" ]; then
    echo "vega-datasets $version is in $dir already"
    exit 0
fi

if ! command -v npm >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "npm is missing: installing it with apt-get" >&2
        apt-get update -q
        apt-get install -q -y --no-install-recommends npm
    else
        echo "npm is missing: install it (Debian: apt-get install npm) and run this again" >&2
        exit 1
    fi
fi

mkdir -p "$dir"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "vega-datasets@$version" >/dev/null)
tar -xzf "$work/vega-datasets-$version.tgz" -C "$work"
find "$work/package/data" -maxdepth 1 -type f \( -name '*.csv' -o -name '*.json' -o -name '*.geojson' \) -exec cp {} "$dir" \;
touch "$stamp"
echo "$(find "$dir" -maxdepth 1 -type f ! -name '.*' | wc -l) files of vega-datasets $version are in $dir"
