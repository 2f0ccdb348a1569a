# Sourced: where the tools of the tests are, in the versions that they need. Wants to be in the root of the repository.
# shellcheck shell=bash

# What is fetched goes below.
tools_home=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools

# The NATS server that is fetched where none is installed.
nats_version=2.15.1
nats_home=$tools_home/nats-$nats_version

# Node, likewise.
node_version=24.19.0
node_home=$tools_home/node-$node_version

# The S3 server that is built where none is installed.
s3_version=0.14.1
s3_home=$tools_home/s3s-fs-$s3_version

# Where playwright-core is, and what else the scenarios of the browser tests import, as the lock file pins it.
browser_tests=server/tests/browser
playwright_home=$tools_home/browser-tests

# What judges the OpenAPI document and the server by it: schemathesis with what it needs, as requirements.txt pins it, and Spectral, as the
# lock file does.
contract_tests=server/tests/conformance/contract
schemathesis_home=$tools_home/schemathesis
spectral_home=$tools_home/spectral

# first_program NAME...: prints the path of the first of these that is installed; fails if none is. Debian keeps servers in sbin, which
# is in root's PATH only.
first_program() {
    local name folder
    for name in "$@"; do
        for folder in $(echo "$PATH" | tr ':' ' ') /usr/sbin /usr/local/sbin; do
            if [ -f "$folder/$name" ] && [ -x "$folder/$name" ]; then
                echo "$folder/$name"
                return
            fi
        done
    done
    return 1
}

# nats_server: prints the path of a nats-server of 2.11 or newer; fails if there is none.
nats_server() {
    local server version
    for server in "$nats_home/bin/nats-server" "$(command -v nats-server || true)"; do
        [ -x "$server" ] || continue
        version=$("$server" --version | sed -n 's/.*v\([0-9]\+\.[0-9]\+\).*/\1/p')
        if [ "${version%%.*}" -gt 2 ] || { [ "${version%%.*}" -eq 2 ] && [ "${version#*.}" -ge 11 ]; }; then
            echo "$server"
            return
        fi
    done
    return 1
}

# postgres_bin: prints the folder with initdb, pg_ctl and the like of a PostgreSQL of 14 or newer, the newest; fails if there is none.
postgres_bin() {
    local folder version
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV) "$(pg_config --bindir 2>/dev/null || true)" \
        "$(dirname "$(command -v initdb || true)")"; do
        if ! [ -x "$folder/initdb" ] || ! [ -x "$folder/postgres" ]; then continue; fi
        version=$("$folder/postgres" --version | sed -n 's/.* \([0-9]\+\).*/\1/p')
        if [ "${version:-0}" -ge 14 ]; then
            echo "$folder"
            return
        fi
    done
    return 1
}

# node_bin: prints the folder with node, of version 20 or newer, and npm; fails if there is none.
node_bin() {
    local node version
    for node in "$(command -v node || true)" "$node_home/bin/node"; do
        if ! [ -x "$node" ] || ! [ -x "${node%/*}/npm" ]; then continue; fi
        version=$("$node" --version | sed -n 's/^v\([0-9]\+\)\..*/\1/p')
        if [ "${version:-0}" -ge 20 ]; then
            echo "${node%/*}"
            return
        fi
    done
    return 1
}

# s3_server: prints the path of s3s-fs; fails if there is none.
s3_server() {
    if [ -x "$s3_home/bin/s3s-fs" ]; then
        echo "$s3_home/bin/s3s-fs"
    else
        first_program s3s-fs
    fi
}

# chromium_program, nginx_program, haproxy_program: print a path; fail if there is none.
chromium_program() { first_program chromium chromium-browser google-chrome-stable google-chrome; }
nginx_program() { first_program nginx; }
haproxy_program() { first_program haproxy; }

# playwright_folder: prints the folder whose node_modules has what the browser tests import; fails if it has not, or another version.
playwright_folder() {
    installed "$playwright_home" "$browser_tests/package-lock.json" && echo "$playwright_home"
}

# schemathesis_program: prints the path of schemathesis; fails if it is not there, or in another version.
schemathesis_program() {
    cmp -s "$contract_tests/requirements.txt" "$schemathesis_home/.installed-requirements" && echo "$schemathesis_home/bin/schemathesis"
}

# spectral_program: prints the path of Spectral's script, for node; fails likewise.
spectral_program() {
    installed "$spectral_home" "$contract_tests/package-lock.json" && echo "$spectral_home/node_modules/.bin/spectral"
}

# installed FOLDER LOCK: whether FOLDER has the npm packages that the file LOCK names. `npm_ci` of tools.sh leaves a copy of it there.
installed() {
    cmp -s "$2" "$1/node_modules/.installed-lock"
}
