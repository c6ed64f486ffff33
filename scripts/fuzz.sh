#!/usr/bin/env bash
# Searches for inputs that a fuzz target does not take well: scripts/fuzz.sh TARGET [SECONDS]
# Begins with the kept inputs; new ones go to fuzz/corpus-new. Needs nightly Rust and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?which target? See fuzz/README.md}
seconds=${2:-600}
mkdir -p "fuzz/corpus-new/$target"
# Without a sanitizer: Palk has no unsafe code, and is tried several times as often in the same time.
exec cargo +nightly fuzz run --sanitizer none "$target" \
    "fuzz/corpus-new/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
