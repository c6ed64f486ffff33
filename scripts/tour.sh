#!/usr/bin/env bash
# Draws what `palk demo --tour` prints as docs/pictures/tour.svg, the picture in README.md.
#
#   scripts/tour.sh             runs the tour and draws it
#   scripts/tour.sh FILE        draws what an earlier tour has printed
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
said=$(mktemp)
trap 'rm -f "$said"' EXIT
if [ $# -eq 0 ]; then
    cargo run --quiet --release --manifest-path "$root/Cargo.toml" -- demo --tour | cat >"$said"
else
    cp "$1" "$said"
fi

# A dark frame with light letters can be read on a light page and on a dark one.
draw() {
    awk -v columns="$(awk '{ if (length > most) most = length } END { print most }' "$said")" \
        -v lines="$(wc -l <"$said")" '
        function text(line, colour, weight) {
            gsub(/&/, "\\&amp;", line); gsub(/</, "\\&lt;", line); gsub(/>/, "\\&gt;", line)
            y += 18
            if (line != "")
                printf "<text x=\"16\" y=\"%d\"%s%s>%s</text>\n", y, \
                    colour ? " fill=\"" colour "\"" : "", weight ? " font-weight=\"bold\"" : "", line
        }
        BEGIN {
            width = (columns < 80 ? 80 : columns) * 8.43 + 32
            printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\">\n", width, lines * 18 + 72
            print "<title>What palk demo --tour prints</title>"
            print "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1b1f24\"/>"
            print "<g fill=\"#596068\"><circle cx=\"20\" cy=\"18\" r=\"6\"/><circle cx=\"40\" cy=\"18\" r=\"6\"/>" \
                "<circle cx=\"60\" cy=\"18\" r=\"6\"/></g>"
            print "<g font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"14\" fill=\"#d5dbe1\"" \
                " xml:space=\"preserve\" style=\"white-space:pre\">"
            y = 32
            text("$ palk demo --tour", "#8ab4f8", 1)
        }
        /^[0-9]\. / { text($0, "#f2c572", 1); is_explanation = 1; next }
        is_explanation { text($0, "#93a1ad"); is_explanation = 0; next }
        /bit for bit|healed after|is back$|every file is on/ { text($0, "#7fd18b"); next }
        { text($0) }
        END { print "</g>\n</svg>" }
    ' "$said"
}
draw >"$root/docs/pictures/tour.svg"
