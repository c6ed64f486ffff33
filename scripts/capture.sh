#!/usr/bin/env bash
# Records what goes over the loopback interface while a file is stored and read back, and looks for
# what nobody on the way may see: a sentence in the file, its name, the password.
#
#   scripts/capture.sh          with a cluster key, as between machines: all of it must be missing
#   scripts/capture.sh plain    without one, and with a client of plain text: the sentence must be found
#
# Needs tshark and dumpcap (Debian package tshark), and the right to record.
set -euo pipefail

mode=${1:-key}
root=$(cd "$(dirname "$0")/.." && pwd)
cargo build --quiet --manifest-path "$root/Cargo.toml"
palk=$root/target/debug/palk
sentence="the treaty is signed at dawn"
password="a password that nobody guesses"

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
    for _ in $(seq 400); do
        found=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$1" 2>/dev/null | head -n 1)
        [ -n "$found" ] && { echo "$found"; return; }
        sleep 0.05
    done
    echo "nothing listens: $1" >&2
    exit 1
}

dumpcap -q -i lo -w "$work/capture" 2>"$work/dumpcap.log" &
recorder=$!
pids+=("$recorder")
until [ -s "$work/capture" ]; do
    kill -0 "$recorder" 2>/dev/null || { cat "$work/dumpcap.log" >&2; exit 1; }
    sleep 0.05
done

key=()
if [ "$mode" = key ]; then
    "$palk" keygen "$work/key" 2>"$work/keygen.log"
    key=(--key "$work/key")
fi
nodes=()
ports=()
for id in 1 2 3 4; do
    NO_COLOR=1 "$palk" storage --id "$id" --listen 127.0.0.1:0 --dir "$work/files_$id" "${key[@]}" \
        2>"$work/node$id.log" &
    pids+=($!)
    node=$(address "$work/node$id.log")
    nodes+=(--node "$node")
    ports+=("${node##*:}")
done
NO_COLOR=1 "$palk" server --listen 127.0.0.1:0 --dir "$work/user_database" "${key[@]}" "${nodes[@]}" \
    2>"$work/server.log" &
pids+=($!)
server=$(address "$work/server.log")
ports+=("${server##*:}")
until grep -q "Connected to all data servers" "$work/server.log"; do sleep 0.05; done

echo "$password" >"$work/password"
: >"$work/config.toml"
export PALK_SERVER=$server PALK_USER=fox PALK_PASSWORD_FILE=$work/password
export PALK_CONFIG=$work/config.toml
for line in $(seq 20000); do echo "$line $sentence"; done >"$work/letter.txt"
"$palk" client -q signup
"$palk" client -q store "$work/letter.txt" --to drawer
"$palk" client -q rtv drawer/letter.txt --to "$work/back.txt"
cmp "$work/letter.txt" "$work/back.txt"
if [ "$mode" = plain ]; then
    exec 3<>"/dev/tcp/${server%:*}/${server##*:}"
    printf 'HI\r\n\r\nfox\r\n%s\r\n\r\n' "$password" >&3
    until [[ ${welcome:-} == *Welcome* ]]; do read -r welcome <&3; done
    exec 3>&-
fi
sleep 1 # the recorder is given packets in blocks
kill -INT "$recorder"
wait "$recorder" 2>/dev/null || true

of_palk=$(printf ' || tcp.port == %s' "${ports[@]}")
of_palk="(${of_palk# || })"
count() { tshark -r "$work/capture" -Y "$of_palk && $1" 2>/dev/null | wc -l; }
echo "$(count "tcp.len > 0") frames with data between client, server and nodes"
seen=0
for what in "$sentence" "letter.txt" "drawer" "$password"; do
    frames=$(count "frame contains \"$what\"")
    seen=$((seen + frames))
    echo "$frames frames with \"$what\""
done
if [ "$mode" = key ]; then [ "$seen" -eq 0 ]; else [ "$seen" -gt 0 ]; fi
