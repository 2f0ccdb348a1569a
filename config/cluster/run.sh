#!/usr/bin/env bash
# Two instances on one NATS and one PostgreSQL, until Ctrl-C: `make cluster` builds them and starts both services first. The instances
# listen on 127.0.0.1:8081 and 8082; HUBBUB_CLUSTER_PORTS="9001 9002 9003" makes it three, elsewhere.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hubbub=$(realpath "${1:?usage: .ci/services.sh config/cluster/run.sh path/to/hubbub}")
read -ra ports <<<"${HUBBUB_CLUSTER_PORTS:-8081 8082}"

# What differs from hubbub.toml here. Nothing else of the environment is meant for the instances.
store=${HUBBUB_TEST_POSTGRES:?make cluster starts one}
broker=${HUBBUB_TEST_NATS:?make cluster starts one}
for name in ${!HUBBUB_*}; do unset "$name"; done
secret=$(mktemp)
head -c 32 /dev/urandom | base64 >"$secret"
export HUBBUB_CONFIG=$folder/hubbub.toml HUBBUB_STORE__URL=$store HUBBUB_BROKER__URL=$broker HUBBUB_AUTH__SECRET_FILE=$secret

instances=()
# In sessions of their own: a Ctrl-C reaches this script, which asks each to stop, once.
# shellcheck disable=SC2317 # The traps call it.
stop() {
    trap - EXIT
    trap '' INT TERM
    echo "stopping"
    [ ${#instances[@]} = 0 ] || kill -INT "${instances[@]}" 2>/dev/null || true
    wait
    rm -f "$secret"
}
trap stop EXIT
trap 'exit 0' INT TERM

for port in "${ports[@]}"; do
    HUBBUB_HTTP__LISTEN=127.0.0.1:$port setsid "$hubbub" serve &
    instances+=($!)
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "${instances[-1]}" 2>/dev/null || exit 1
        sleep 0.05
    done
done

cat <<END

${#ports[@]} instances are one cluster: $(printf 'ws://127.0.0.1:%s ' "${ports[@]}")

In a second terminal:

    export PATH="$(dirname "$hubbub"):\$PATH"
    export HUBBUB_TOKEN=$("$hubbub" token --user alice)
    hubbub tail room:1 --url ws://127.0.0.1:${ports[0]}

And in a third, with the same two exports:

    hubbub publish room:1 '"hello from the other one"' --url ws://127.0.0.1:${ports[-1]}
    curl http://127.0.0.1:${ports[0]}/v1/instances -H "Authorization: Bearer \$HUBBUB_TOKEN"

PostgreSQL is at $store and NATS at $broker; with Ctrl-C all of it is gone.

END
# One that ends by itself ends all.
wait -n
exit 1
