#!/usr/bin/env bash
# Feeds the dashboard of the page at /: replays ten years of real monthly stock prices into ticker:MSFT, ticker:AMZN …, over and over,
# until Ctrl-C. Usage, beside `make run`, in the same folder: demo.sh path/to/hubbub path/to/hubbub-loadtest stocks.csv
# HUBBUB_URL names a server elsewhere, HUBBUB_TOKEN holds a token for it, DEMO_RATE is in updates a second (30).
set -euo pipefail
hubbub=${1:?usage: demo.sh HUBBUB HUBBUB_LOADTEST STOCKS_CSV}
loadtest=${2:?usage: demo.sh HUBBUB HUBBUB_LOADTEST STOCKS_CSV}
stocks=${3:?usage: demo.sh HUBBUB HUBBUB_LOADTEST STOCKS_CSV}
url=${HUBBUB_URL:-ws://127.0.0.1:8080}
url=${url%/}
url=${url%/v1/ws}
rate=${DEMO_RATE:-30}

host=${url#*://}
port=${host##*:}
[[ $port =~ ^[0-9]+$ ]] || port=$([[ $url = wss:* ]] && echo 443 || echo 80)
if ! (exec 3<>"/dev/tcp/${host%:*}/$port") 2>/dev/null; then
    echo "No server answers at $url. Start one first, in another terminal: make run" >&2
    exit 1
fi

rows=$(mktemp -d)
replay=
trap 'rm -rf "$rows"' EXIT
# shellcheck disable=SC2086 # There is one, or none.
trap 'echo; kill $replay 2>/dev/null || true; exit 0' INT TERM
# The file has one symbol after the other. Told month by month, all five move.
awk -F, 'BEGIN { split("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", names, " "); for (i in names) month[names[i]] = i }
    NR > 1 { split($2, day, " "); printf "%d%02d,%s\n", day[3], month[day[1]], $0 }' "$stocks" | sort -s -t, -k1,1n | cut -d, -f2- >"$rows/body"
{ head -n 1 "$stocks"; cat "$rows/body"; } >"$rows/stocks.csv"

page=http${url#ws}
echo "Prices go to ticker:* at $url, $rate a second, until Ctrl-C. Open $page/#dashboard"
round=0
while true; do
    token=${HUBBUB_TOKEN:-$("$hubbub" token --user demo --minutes 60 --grant 'ticker:*=subscribe,publish')}
    # One subscriber checks what arrives; where it was slow, `latest` may have left out what was superseded.
    HUBBUB_TOKEN=$token "$loadtest" replay "$rows/stocks.csv" --url "$url/v1/ws" --prefix ticker: --channel-column symbol \
        --key-column symbol --rate "$rate" --subscribers 1 --dropping 0 --allow-skips >"$rows/summary" 2>"$rows/errors" &
    replay=$!
    if ! wait "$replay"; then
        cat "$rows/summary" "$rows/errors" >&2
        echo "The round did not end well; the next one begins in 2 s. If the token was refused, run this where the server was started." >&2
        sleep 2
        continue
    fi
    round=$((round + 1))
    echo "round $round: $(awk '$1 == "acked" { print $2 }' "$rows/summary") prices stored, $(awk '$1 == "deliveries" { print $2 }' "$rows/summary") delivered to one subscriber, $(awk '$1 == "violations" { print $2 }' "$rows/summary") violations"
done
