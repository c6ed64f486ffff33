#!/usr/bin/env bash
# Everything that must pass before a change is merged. Needs Rust and cargo-nextest, nothing else.
# The tests come last, so that the last line says how many ran.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

step cargo fmt --check
step cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --locked --no-deps
step cargo test --locked --quiet --doc
step cargo nextest run --locked
