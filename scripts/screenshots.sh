#!/usr/bin/env bash
# Makes the pictures of the web page in docs/pictures/web anew, in a real browser on a whole cluster of real
# processes. Needs chromium and chromedriver (Debian: chromium, chromium-driver).
set -euo pipefail
cd "$(dirname "$0")/.."

for program in chromium chromedriver; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
cargo test --locked --test web_page -- --ignored every_screen
ls -s docs/pictures/web
