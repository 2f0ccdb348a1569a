# Hubbub's tasks: `make help` lists them. ARGS are passed on: make run ARGS='--set log.filter=debug'

DATA := target/data
BUILT := $(or $(CARGO_TARGET_DIR),target)/release
NIGHTLY ?= +nightly
FUZZ_SECONDS ?= 60
CONTRACT_SECONDS ?= 600
FUZZ_TARGETS ?= client_msgpack client_json server_msgpack server_json payload name

.DEFAULT_GOAL := help
.PHONY: help run demo cluster test contract lint tools demo-data bench fuzz

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build Hubbub and serve on 127.0.0.1:8080, with its database in this directory
	cargo run --release --bin hubbub -- serve $(ARGS)

demo: demo-data ## Beside `make run`, in a second terminal: replay real prices for the page's dashboard, until Ctrl-C
	cargo build --release --bin hubbub --bin hubbub-loadtest
	@loadtest/demo.sh $(BUILT)/hubbub $(BUILT)/hubbub-loadtest $(DATA)/stocks.csv

cluster: ## Build Hubbub, run two instances beside a private NATS and PostgreSQL (config/cluster)
	@.ci/tools.sh services
	cargo build --release --bin hubbub
	HUBBUB_SERVICES_SYNC=1 .ci/services.sh config/cluster/run.sh $(BUILT)/hubbub

test: tools demo-data ## Run every test, after getting what they need, beside a private NATS and PostgreSQL
	cargo test --doc --workspace
	previous=$$(.ci/previous.sh) && HUBBUB_TEST_PREVIOUS=$$previous .ci/services.sh cargo nextest run --workspace $(ARGS)

contract: tools ## Hold the server against its OpenAPI document for CONTRACT_SECONDS (600) on each database: the long form of what `test` does
	HUBBUB_TEST_CONTRACT_SECONDS=$(CONTRACT_SECONDS) .ci/services.sh cargo nextest run --workspace --profile contract --success-output immediate \
		--test-threads 1 -E 'test(/^contract::/)' $(ARGS)

lint: ## Check formatting, clippy and the documentation; no warning passes
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace

tools: ## Get what the tests need beside Rust: cargo-nextest, Python, Node, NATS, PostgreSQL, S3, schemathesis, Spectral, Chromium, nginx, HAProxy
	@.ci/tools.sh

demo-data: ## Fetch real data (vega-datasets, by npm) into target/data
	@. .ci/find.sh && if node=$$(node_bin); then PATH="$$node:$$PATH"; fi && loadtest/fetch-data.sh $(DATA)

bench: ## Measure, beside the floor, what deliveries, connections, publishes, REST and a cluster cost: two idle cores, three quarters of an hour
	@.ci/tools.sh services
	cargo build --release --package hubbub-server --package hubbub-loadtest
	. .ci/find.sh && export HUBBUB_TEST_NATS_SERVER=$$(nats_server) HUBBUB_TEST_POSTGRES_BIN=$$(postgres_bin) && set -ex && \
	$(BUILT)/hubbub-loadtest fanout $(ARGS) && \
	$(BUILT)/hubbub-loadtest fanout --transport sse,eventsource,polling --pairs 3 && \
	$(BUILT)/hubbub-loadtest fanout --transport websocket,sse,eventsource,polling --durable --pairs 3 && \
	$(BUILT)/hubbub-loadtest idle && \
	$(BUILT)/hubbub-loadtest idle --to 10000 --transport sse,eventsource,polling && \
	for pair in local-sqlite nats-sqlite local-postgres nats-postgres; do \
		$(BUILT)/hubbub-loadtest fanout --rooms-of 20 --rate 500 --durable --pair $$pair --pairs 3; \
	done && \
	$(BUILT)/hubbub-loadtest fanout --across --pair nats-postgres --pairs 5 && \
	$(BUILT)/hubbub-loadtest publish --pair local-sqlite,nats-sqlite,local-postgres,nats-postgres && \
	$(BUILT)/hubbub-loadtest rest --pair local-sqlite,local-postgres && \
	$(BUILT)/hubbub-loadtest rest --pair local-sqlite,local-postgres --kind mixed --rate 1000 --runs 3 && \
	$(BUILT)/hubbub-loadtest channels --interest names && \
	$(BUILT)/hubbub-loadtest channels --interest shards && \
	$(BUILT)/hubbub-loadtest presence && \
	$(BUILT)/hubbub-loadtest export --pair local-sqlite,local-postgres

fuzz: ## Fuzz each target of the protocol for FUZZ_SECONDS (60); wants cargo-fuzz and a nightly compiler
	cargo run --package hubbub-protocol --example fuzz_seeds
	cd protocol && set -e; for target in $(FUZZ_TARGETS); do \
		cargo $(NIGHTLY) fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096; \
	done
