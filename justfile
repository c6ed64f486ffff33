# Lists the recipes.
default:
    @just --list --unsorted

# Everything that must pass: format, lints, documentation, tests.
ci:
    bash scripts/test.sh

# The tests alone, or those whose name has this word: just test catalog
test *filter:
    cargo nextest run {{filter}}

# Formats the sources.
fmt:
    cargo fmt

# What the compiler and clippy have to say.
lint:
    cargo clippy --all-targets -- -D warnings

# Builds the documentation of the sources and opens it.
doc:
    cargo doc --no-deps --open

# A whole cluster on this machine.
demo *args:
    cargo run --release -- demo {{args}}

# Simulated crashes under this many seeds: just sim 10000
sim seeds="1000":
    PALK_SIM_SEEDS={{seeds}} cargo nextest run --release --test sim --no-capture

# Searches for inputs that a fuzz target does not take well: just fuzz session_specified 600
fuzz target seconds="600":
    bash scripts/fuzz.sh {{target}} {{seconds}}

# The speed of the coding kernel.
bench:
    cargo bench --bench kernel

# Palk's times beside those of a program that only moves the bytes: FLOOR=path just bench-floor
bench-floor *args:
    bash benches/floor.sh {{args}}

# 4 KiB files with 1 and 16 clients, beside the same program's log mode: FLOOR=path just small_files 50000
small_files *files:
    cargo bench --bench small_files -- {{files}}

# A Debian package, static where that can be built: just package
package *target:
    bash scripts/package.sh {{target}}
