# What people and CI run. `just` lists the recipes.

default:
    @just --list

# Start the server, with whatever arguments follow
run *arguments:
    cargo run -p notification-server -- {{ arguments }}

# Format everything
fmt:
    cargo fmt --all

# Check format, lints and documentation
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

# Check and test everything, as CI does
test:
    ./scripts/test

# Run MCP's conformance suite, and compare with tests/conformance/expected.yaml
conformance:
    ./scripts/install-test-tools
    cargo build --locked -p notification-server --features conformance-fixtures --bin notification-server-with-fixtures
    npm test --silent --prefix tests/conformance

# Look for inputs that break the fuzz targets, for so many seconds each
fuzz *arguments:
    ./scripts/fuzz {{ arguments }}

# Measure, and write docs/performance.md; with arguments: measure what they say
bench *arguments:
    cargo run --release --locked -p notification-bench -- \
        {{ if arguments == "" { "--json target/bench.json --plots docs/performance --markdown docs/performance.md" } else { arguments } }}

# Build the documentation as a book, into target/book/html
book:
    ./scripts/install-test-tools
    cargo build --locked -p notification-server
    python3 docs/book/build.py

# Build the documentation of the crates and open it
docs:
    cargo doc --workspace --no-deps --open
