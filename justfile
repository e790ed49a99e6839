# Commands for people who work on the code: `just` lists them. They need cargo, and `.ci/run` installs all else.

_default:
    @just --list

# Formatting, lints, unit tests and the order of the house: what to run before every commit
quick:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo test --locked --lib --test layering

# All tests; those that need root or another program say so and are skipped where it is missing
test *ARGS:
    cargo test --locked {{ ARGS }}

# Everything that must hold before a change is accepted; installs packages, so it is meant for a machine of its own
ci:
    .ci/run

# The benchmarks of this crate, then whole runs beside podman, crun and runc (see benches/README.md)
bench:
    cargo bench --locked
    benches/side-by-side

# Write the golden files anew; look at the difference before you commit it
golden:
    TRACE_UPDATE_GOLDEN=1 cargo test --locked --lib report::
    git diff --stat -- tests/golden docs/pictures
