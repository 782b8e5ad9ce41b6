# Three commands matter: `make demo` shows it, `make check` and `make test` check it. They need Rust, a C compiler and
# nothing else: PostgreSQL is found, or else installed.

CARGO ?= cargo
CARGO_FLAGS := --locked

# Behind what the machine has itself.
export PATH := $(PATH):$(CURDIR)/target/tools/bin

# `make demo TOUR=1` walks through by itself; `make demo PORT_BASE=9001` listens elsewhere; `make demo STORAGE=1` is
# about object storage.
DEMO_FLAGS := $(if $(TOUR),--tour) $(if $(PORT_BASE),--port-base $(PORT_BASE))

STORAGE_DEMO = $(if $(TOUR),TOUR=1) $(CARGO) test $(CARGO_FLAGS) --test integration object_storage_to_try_out -- \
	--ignored --nocapture

# nextest runs each test in a process of its own; plain `cargo test` runs the same tests.
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
ifeq ($(NEXTEST),yes)
RUN_TESTS := $(CARGO) nextest run $(CARGO_FLAGS)
RUN_DRILLS := $(RUN_TESTS) --ignore-default-filter -E 'test(drills::)'
else
RUN_TESTS := $(CARGO) test $(CARGO_FLAGS)
SKIP_DRILLS := -- --skip drills::
RUN_DRILLS := $(RUN_TESTS) --test integration drills:: -- --test-threads=1
endif

.PHONY: build check demo bench simulate simulate-fleet test lint test-rust drill drill-short check-consistency infra infra-mutations doc postgresql tools check-infra-apply check-tls check-s3 check-cache

build:
	$(CARGO) build $(CARGO_FLAGS)

demo: $(if $(STORAGE),postgresql)
	$(if $(STORAGE),$(STORAGE_DEMO),$(CARGO) run $(CARGO_FLAGS) -- demo $(DEMO_FLAGS))

# Format, lint and unit tests: what to run between two commits.
check: lint
	$(RUN_TESTS) --lib

# Everything, cheapest first. The tour runs with the program that was tested, which `cargo run` would compile anew.
test: lint test-rust check-cache drill-short infra doc
	target/debug/tidegate demo --tour

lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy $(CARGO_FLAGS) --all-targets -- -D warnings

# Where their files are makes a third of the time.
test-rust drill-short: export TMPDIR = $(shell tests/scratch.sh)

test-rust: postgresql
	$(RUN_TESTS) $(SKIP_DRILLS)

# Steady traffic and a real fault in the middle, at full length, with the release build; prints a table.
# `make drill ONLY=storage` runs those of object storage alone, ONLY=storage_moves those of very many objects,
# and ONLY=rollouts those of rollouts.
drill: postgresql
	$(CARGO) build $(CARGO_FLAGS) --release
	TIDEGATE_BINARY=$(CURDIR)/target/release/tidegate $(CARGO) test $(CARGO_FLAGS) --test integration $(if $(ONLY),$(ONLY)_)drills_at_full_length -- --ignored --nocapture --test-threads=1

# The same with shorter settings, one after the other since they measure.
drill-short: postgresql
	$(RUN_DRILLS)

# Clients, faults and a judge for as long as one likes; `make test` runs each fault once. A seed
# repeats the order of faults and requests: `make check-consistency SECONDS=600 SEED=1`.
SECONDS := 60
check-consistency: postgresql
	CHECK_SECONDS=$(SECONDS) CHECK_SEED=$(SEED) $(CARGO) test $(CARGO_FLAGS) --test integration \
		no_promise_is_broken_for_a_long_time -- --ignored --nocapture

# Tidegate beside nginx, Varnish, pgbench and pgbouncer, on loopback; writes tests/bench/RESULTS.md. A quarter of an hour.
# `make bench ONLY=cached` measures a part and writes nothing.
BENCH_FLAGS := $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(BENCH_SECONDS),--seconds $(BENCH_SECONDS))
bench: postgresql
	$(CARGO) bench $(CARGO_FLAGS) --bench speed -- $(BENCH_FLAGS)

# Thirty regions, faults and clients around the world in virtual time: DNS alone, node steering, the
# traffic policy. Prints a table and writes docs/traffic-simulation.md; under a minute.
simulate:
	$(CARGO) bench $(CARGO_FLAGS) -p tidegate-traffic --bench simulation

# Gateways of up to fifty regions that tell each other how they are: how fast that spreads and what it
# costs. Prints two tables; two minutes.
simulate-fleet:
	$(CARGO) test $(CARGO_FLAGS) --release -p tidegate-fleet --test fleet -- --ignored --nocapture --test-threads=1 table

# What is under infra/, as far as it can be checked without an account; what cannot is said aloud.
infra:
	tests/infra/run.sh
	SAMPLE=15 tests/infra/mutations/run.sh

# Every fault that those checks must notice; some minutes.
infra-mutations:
	tests/infra/mutations/run.sh

# infra/README.md carried out in an imitation of AWS, command by command; about an hour, most of it the
# provider's own waiting. `make check-infra-apply QUICK=1` ends after the first apply, and ONLY="disaster
# destroying" takes those of its steps alone.
APPLY_TOOLS := target/tools/infra-apply
check-infra-apply: $(APPLY_TOOLS)/ready
	$(APPLY_TOOLS)/bin/python -B tests/infra/apply/walk.py $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

$(APPLY_TOOLS)/ready: tests/infra/apply/requirements.txt
	python3 -m venv $(APPLY_TOOLS)
	$(APPLY_TOOLS)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# What the public listener offers over TLS, by a scanner from PyPI; `make test` checks the same with less.
TLS_TOOLS := target/tools/check-tls
check-tls: $(TLS_TOOLS)/ready
	$(CARGO) build $(CARGO_FLAGS)
	$(TLS_TOOLS)/bin/python -B tests/tls/scan.py target/debug/tidegate

$(TLS_TOOLS)/ready: tests/tls/requirements.txt
	python3 -m venv $(TLS_TOOLS)
	$(TLS_TOOLS)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# The tests of ceph/s3-tests that tests/s3/names.txt lists, from a checkout: make check-s3 S3_TESTS=DIR
S3_TOOLS := target/tools/check-s3
check-s3: $(S3_TOOLS)/ready
	S3_TESTS=$(S3_TESTS) $(CARGO) test $(CARGO_FLAGS) --test integration -- --nocapture storage::ceph

$(S3_TOOLS)/ready: tests/s3/requirements.txt
	python3 -m venv $(S3_TOOLS)
	$(S3_TOOLS)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# The public tests of HTTP caches (npm) through a gateway, about half a minute. The program is built together with the
# tests: alone, its dependencies have fewer features, and all of them would be compiled once more.
CACHE_TOOLS := target/tools/check-cache
check-cache:
	@tests/tools.sh cache-tests
	$(CARGO) build $(CARGO_FLAGS) --bin tidegate --test integration
	tests/cache/check.sh target/debug/tidegate $(CACHE_TOOLS)

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(CARGO_FLAGS) --no-deps

# One test finds PostgreSQL or installs it, so that no other waits for that within its own deadline.
postgresql:
	$(RUN_TESTS) postgresql_is_found_or_installed

# What the tests need beyond Rust and a C compiler, into target/tools, once.
tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	@tests/tools.sh
