#!/usr/bin/env bash
# Times store and retrieve of one file, whole client process from start to exit, in turn with a
# "floor" program that moves the same bytes between as many processes and does nothing else
# (A B A B ...), and prints medians and ratios.
#
#   FLOOR=path/to/floor benches/floor.sh [ROUNDS] [BYTES]
#
# The floor program is not part of Palk. It has to understand `up DIR --port P`, `put ADDR FILE ID`
# and `get ADDR ID OUT`. Without it only Palk's own times are printed.
set -euo pipefail

rounds=${1:-7}
bytes=${2:-100000000}
floor=${FLOOR:-}
root=$(cd "$(dirname "$0")/.." && pwd)
(cd "$root" && cargo build --quiet --release) # there, since cargo takes its settings from the folder
palk=$root/target/release/palk

work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# The address after "listening on" in a log, once it is there.
address() {
    for _ in $(seq 200); do
        found=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$1" | head -n 1)
        [ -n "$found" ] && { echo "$found"; return; }
        sleep 0.02
    done
    echo "nothing listens: $1" >&2
    exit 1
}

nodes=()
for id in 1 2 3 4; do
    NO_COLOR=1 "$palk" storage --id "$id" --listen 127.0.0.1:0 --dir "$work/files_$id" 2>"$work/node$id.log" &
    pids+=($!)
    nodes+=(--node "$(address "$work/node$id.log")")
done
NO_COLOR=1 "$palk" server --listen 127.0.0.1:0 --dir "$work/user_database" --max-file-size none \
    "${nodes[@]}" 2>"$work/server.log" &
pids+=($!)
export PALK_SERVER PALK_USER=bench PALK_PASSWORD_FILE=$work/password PALK_CONFIG=$work/config.toml
: >"$PALK_CONFIG"
PALK_SERVER=$(address "$work/server.log")
echo "a bench password" >"$PALK_PASSWORD_FILE"
until grep -q "Connected to all data servers" "$work/server.log"; do sleep 0.02; done
"$palk" client -q signup

if [ -n "$floor" ]; then
    "$floor" up "$work/floor" --port 21300 >"$work/floor.log" 2>&1 &
    pids+=($!)
    until grep -q "^relay" "$work/floor.log"; do sleep 0.02; done
    relay=$(sed -n 's/^relay //p' "$work/floor.log")
fi

head -c "$bytes" /dev/urandom >"$work/source"
sync

# Milliseconds of a whole command.
timed() {
    local from to
    from=$(date +%s%N)
    "$@" >/dev/null
    to=$(date +%s%N)
    echo $(((to - from) / 1000))
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for round in $(seq 0 "$rounds"); do
    keep=$([ "$round" -eq 0 ] && echo warmup || echo counted) # round 0 warms up
    timed "$palk" client -q store "$work/source" --as "file$round" >>"$work/palk.store.$keep"
    [ -n "$floor" ] && timed "$floor" put "$relay" "$work/source" "$round" >>"$work/floor.store.$keep"
    # A rename over an existing file makes some file systems write it out first, on the clock of
    # whoever renames: both write to names that are free.
    rm -f "$work/back.palk" "$work/back.floor"
    timed "$palk" client -q rtv "file$round" --to "$work/back.palk" >>"$work/palk.retrieve.$keep"
    [ -n "$floor" ] && timed "$floor" get "$relay" "$round" "$work/back.floor" >>"$work/floor.retrieve.$keep"
    cmp -s "$work/source" "$work/back.palk" || { echo "what came back differs" >&2; exit 1; }
    "$palk" client -q del "file$round"
done

for what in store retrieve; do
    own=$(median <"$work/palk.$what.counted")
    line="$what $bytes bytes: palk $((own / 1000)) ms"
    if [ -n "$floor" ]; then
        other=$(median <"$work/floor.$what.counted")
        line="$line, floor $((other / 1000)) ms, ratio $(awk "BEGIN { printf \"%.2f\", $own / $other }")"
    fi
    echo "$line (medians of $rounds)"
done
for i in 0 1 2 3 4; do
    name=$([ "$i" -lt 4 ] && echo "node $((i + 1))" || echo server)
    echo "peak memory of $name: $(awk '/VmHWM/ { print $2 " kB" }' "/proc/${pids[$i]}/status")"
done
