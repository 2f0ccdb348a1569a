# Sourced: where NATS and PostgreSQL are, in the versions that Hubbub needs. Wants to be in the root of the repository.
# shellcheck shell=bash

# The NATS server that is fetched where none is installed.
nats_version=2.15.1
nats_home=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools/nats-$nats_version

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
