#!/usr/bin/env bash
# services.sh COMMAND...: runs COMMAND beside a private NATS and a private PostgreSQL, on free ports, and ends both with it,
# whatever happens. Its exit code is COMMAND's, which finds them by
#
#   HUBBUB_TEST_NATS            nats://127.0.0.1:PORT
#   HUBBUB_TEST_NATS_SERVER     the nats-server, for tests that start their own
#   HUBBUB_TEST_POSTGRES        postgres://hubbub@127.0.0.1:PORT/postgres, a superuser without a password
#   HUBBUB_TEST_POSTGRES_BIN    the folder with initdb, pg_ctl and the like, for the same
#
# and what else `make tools` gets, by absolute paths, as far as it is there:
#
#   HUBBUB_TEST_NODE            node
#   HUBBUB_TEST_PLAYWRIGHT      the folder whose node_modules has playwright-core
#   HUBBUB_TEST_S3              s3s-fs, an S3 server, for tests that start their own
#   HUBBUB_TEST_SCHEMATHESIS    schemathesis
#   HUBBUB_TEST_SPECTRAL        Spectral, a script for node
#   HUBBUB_TEST_CHROMIUM, HUBBUB_TEST_NGINX, HUBBUB_TEST_HAPROXY
#
# What they keep is gone afterwards, and so is what COMMAND leaves in TMPDIR. Both are in memory where there is room (/dev/shm), and
# PostgreSQL syncs nothing; with HUBBUB_SERVICES_SYNC=1 it syncs, and both are on disk.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ $# = 0 ]; then
    echo "usage: .ci/services.sh COMMAND..." >&2
    exit 2
fi

# tool WHAT...: runs a function of find.sh, which wants to be in the root.
tool() {
    # shellcheck source=.ci/find.sh
    (cd "$root" && . .ci/find.sh && "$@")
}

nats=$(tool nats_server) || { echo "there is no nats-server of 2.11 or newer: make tools" >&2; exit 1; }
bin=$(tool postgres_bin) || { echo "there is no PostgreSQL of 14 or newer: make tools" >&2; exit 1; }

# as_user COMMAND...: as a user who is not root, since PostgreSQL refuses to run as that one.
as_user() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
    else
        "$@"
    fi
}

# roomy FOLDER: whether it can be written and has two gigabytes free.
roomy() {
    [ -w "$1" ] && [ "$(df --output=avail -k "$1" | tail -1)" -gt 2097152 ]
}

sync=${HUBBUB_SERVICES_SYNC:-0}
parent=${TMPDIR:-/tmp}
if [ "$sync" = 0 ] && roomy /dev/shm; then
    parent=/dev/shm
fi
dir=$(mktemp -d "$parent/hubbub-services.XXXXXX")
mkdir -m 1777 "$dir/tmp"
data=$dir/postgres
nats_pid=

# shellcheck disable=SC2317 # The trap calls it.
stop() {
    trap - EXIT
    trap '' INT TERM HUP
    [ -z "$nats_pid" ] || kill "$nats_pid" 2>/dev/null || true
    [ ! -e "$data/postmaster.pid" ] || as_user "$bin/pg_ctl" -D "$data" -m immediate -s stop || true
    [ -z "$nats_pid" ] || wait "$nats_pid" 2>/dev/null || true
    rm -rf "$dir"
}
trap stop EXIT
# Bash waits for COMMAND, then runs these.
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# In a session of its own, as PostgreSQL is: a Ctrl-C is for COMMAND, which may still need them.
setsid "$nats" --addr 127.0.0.1 --port -1 --ports_file_dir "$dir" >"$dir/nats.log" 2>&1 &
nats_pid=$!

install -d -m 700 "$data"
[ "$(id -u)" != 0 ] || { chmod 711 "$dir" && chown nobody:nogroup "$data"; }
as_user "$bin/initdb" -D "$data" -U hubbub -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log"
{
    # The port is chosen below.
    echo "listen_addresses = '127.0.0.1'"
    echo "unix_socket_directories = ''"
    echo "max_connections = 400"
    echo "shared_buffers = 128MB"
    [ "$sync" != 0 ] || printf '%s\n' 'fsync = off' 'full_page_writes = off' 'max_wal_size = 256MB'
} >>"$data/postgresql.conf"

# start_postgres: on a port that was free a moment ago; another one if somebody was faster.
start_postgres() {
    local try
    for try in 1 2 3 4 5; do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        if as_user "$bin/pg_ctl" -D "$data" -w -s -l "$data/log" -o "-p $port" start >/dev/null 2>&1; then
            return
        fi
        echo "PostgreSQL did not start on port $port (try $try of 5)" >&2
    done
    cat "$data/log" >&2
    exit 1
}
start_postgres

# Its file with ports has long been written by now.
for _ in $(seq 250); do
    url=$(grep -hos 'nats://127[^"]*' "$dir"/*.ports) && break
    sleep 0.02
done
[ -n "${url:-}" ] || { cat "$dir/nats.log" >&2; exit 1; }

export TMPDIR=$dir/tmp
export HUBBUB_TEST_NATS=$url HUBBUB_TEST_NATS_SERVER=$nats
export HUBBUB_TEST_POSTGRES=postgres://hubbub@127.0.0.1:$port/postgres HUBBUB_TEST_POSTGRES_BIN=$bin
if node=$(tool node_bin); then export HUBBUB_TEST_NODE=$node/node; fi
if program=$(tool s3_server); then export HUBBUB_TEST_S3=$program; fi
if playwright=$(tool playwright_folder); then export HUBBUB_TEST_PLAYWRIGHT=$playwright; fi
if program=$(tool schemathesis_program); then export HUBBUB_TEST_SCHEMATHESIS=$program; fi
if program=$(tool spectral_program); then export HUBBUB_TEST_SPECTRAL=$program; fi
if program=$(tool chromium_program); then export HUBBUB_TEST_CHROMIUM=$program; fi
if program=$(tool nginx_program); then export HUBBUB_TEST_NGINX=$program; fi
if program=$(tool haproxy_program); then export HUBBUB_TEST_HAPROXY=$program; fi
echo "started $("$nats" --version) at $HUBBUB_TEST_NATS and $("$bin/postgres" --version) at $HUBBUB_TEST_POSTGRES, both private" >&2

code=0
"$@" || code=$?
exit "$code"
