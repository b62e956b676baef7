# Every command a person types. Each does its own set-up: on a fresh Debian with a Rust toolchain nothing else is needed.
# Arguments of the program go in ARGS:  make bench ARGS=--bare

ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup tools dev test bench lint schemas contract

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (as root), or name it
	@scripts/setup

tools:
	@scripts/setup build

dev: tools ## the gateway in one process, with sample integrations and a receiver (ARGS="--kafka host:port": on Kafka)
	@cargo run --locked -- dev $(ARGS)

test: setup ## formatting, clippy, all tests, on an Apache Kafka started for them
	@scripts/test

bench: setup ## throughput and latency beside the bare pipeline, release build, a Kafka of its own
	cargo build --release --locked
	@scripts/with-kafka cargo run --release --locked --quiet -- bench $(ARGS)

schemas: tools ## write schemas/ anew from the code, after a kind or a route has changed
	UPDATE_SCHEMAS=1 cargo test --locked --lib api::tests::schemas

contract: tools ## a running gateway against its OpenAPI document, with Schemathesis: about ten minutes (ARGS="50 900": so many cases each, so many seconds)
	@scripts/contract $(ARGS)

lint: setup ## formatting, clippy; cargo-deny and shellcheck where they are installed
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; \
	else echo "cargo-deny is not installed (cargo install --locked cargo-deny): licences, bans and sources unchecked"; fi
	@if command -v shellcheck >/dev/null; then shellcheck compose/local scripts/* .ci/run; \
	else echo "shellcheck is not installed (apt-get install shellcheck): scripts unchecked"; fi
