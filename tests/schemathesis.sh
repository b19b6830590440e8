#!/bin/sh
# Asks the built program everything that /openapi.json says can be asked, and more (schemathesis): no 5xx, no undocumented status.
# usage: tests/schemathesis.sh PROGRAM [SECONDS]
set -eu
program="$(realpath "$1")"
seconds="${2:-60}"
version=4.32.5

skip() {
    echo "SKIPPED: schemathesis: $1"
    exit 0
}

command -v python3 >/dev/null || skip "there is no python3"
venv="${XDG_CACHE_HOME:-$HOME/.cache}/pointillist-schemathesis-$version"
if [ ! -x "$venv/bin/schemathesis" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" 2>/dev/null || skip "python3 has no venv"
    timeout 300 "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version" || {
        rm -rf "$venv"
        skip "pip cannot install it"
    }
fi

work="$(mktemp -d)"
server=
end() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT INT TERM
"$program" generate towers --rows 3000 -o "$work/towers.csv" >/dev/null
"$program" ingest "$work/towers.csv" -o "$work/towers" >/dev/null
# One client asks it all, reads every answer to its end, and is not to be told that it asks too much.
"$program" serve "$work/towers" --listen 127.0.0.1:0 --backend cpu --set limits.subscribers=0 >"$work/said" 2>"$work/log" &
server=$!
tries=0
while ! grep -q "listening on" "$work/said"; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { cat "$work/log"; echo "the server does not start"; exit 1; }
    sleep 0.1
done
base="$(sed -n 's/^listening on //p' "$work/said")"
# There, because it leaves a folder of what it found.
cd "$work"
"$venv/bin/schemathesis" --no-color run "$base/openapi.json" --seed 1 --max-time "$seconds" --max-examples 40 --suppress-health-check all \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method \
    --phases examples,coverage,fuzzing --continue-on-failure --generation-database none || { tail -20 "$work/log"; exit 1; }
kill -0 "$server" || { cat "$work/log"; echo "the server has ended"; exit 1; }
