# make demo   builds, generates a sample of cell towers, serves it and prints the address
# make test   installs what the tests need and runs every test
# make test-cluster   builds the cluster engine (half an hour the first time, on 2 cores) and runs its tests
# make lint   formatting and lints
# make page   rebuilds the page (needs Node); the built page is committed, so nothing else does

CARGO ?= cargo
ROWS ?= 2000000

.PHONY: demo build test test-cluster lint page

demo: build
	@"$$(scripts/target-dir)/release/pointillist" demo towers --rows $(ROWS)

build:
	@scripts/need cargo cc
	$(CARGO) build --release --locked

test:
	@scripts/test

test-cluster:
	@scripts/need cargo cc
	$(CARGO) test --locked --features cluster --test cluster
	$(CARGO) test --locked --features cluster --lib cluster::

lint:
	@scripts/need cargo cc
	$(CARGO) clippy --locked --all-targets -- -D warnings

page:
	@scripts/need node
	cd tiles-client && npm ci --no-audit --no-fund && npm run build
