#!/usr/bin/env bash
# Gets what the tests need beside Rust, where it is missing, and says what it does: cargo-nextest, which runs the tests, and
# a Python (3.10 or newer) that can make virtual environments, for the WebSocket conformance suite. Debian packages are
# installed as root only.
set -euo pipefail

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

if ! cargo nextest --version >/dev/null 2>&1; then
    echo "cargo-nextest is missing: building version $nextest, once, which takes some minutes (https://nexte.st has binaries)" >&2
    cargo install --locked "cargo-nextest@$nextest"
fi

# Debian's python3 has the module `venv` without what it needs.
if ! python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
    install_packages "a python3 of 3.10 or newer with venv" python3 python3-venv
fi
