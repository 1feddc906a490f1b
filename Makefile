# The commands that are worth remembering. Longer ones are in scripts/.

APP ?=
PORT ?= 8000
PREFIX ?=
# Settings of the build: release, or dev for trying things out.
PROFILE ?= release
export APP PORT PREFIX PROFILE PYTHON ARGS
# The place where rustup puts cargo, for a shell that does not know it.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help build host install dist wheel deb rpm serve test test-documents test-distros test-reference test-soak test-browser test-asan test-container test-fleet fuzz bench fmt lint docs reference rustdoc clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build everything with release settings, with the host for PYTHON=
	@scripts/install-dependencies run
	@scripts/build "$$PROFILE"

host: ## Build the host for one more Python: make host PYTHON=/path/to/python [PREFIX=dir to install it into]
	@scripts/install-dependencies run
	@python=$$(SHARED=no scripts/find-python) && scripts/build-host "$$PROFILE" "$$python" "$$PREFIX"

install: ## Install into a directory: make install PREFIX=dir [PYTHON=...]
	@test -n "$$PREFIX" || { echo "make install: say where to with PREFIX=dir" >&2; exit 2; }
	@scripts/install-dependencies run
	@scripts/install "$$PROFILE" "$$PREFIX"

dist: ## Make build/dist, the tree that packages are made from, with hosts for all supported Pythons
	@scripts/install-dependencies run
	@scripts/dist

wheel: dist ## Make a wheel of it in build/wheel, for pip, and check it
	@scripts/install-dependencies package
	@scripts/wheel

deb: dist ## Make a package of it in build/deb, for Debian and Ubuntu
	@scripts/install-dependencies package
	@scripts/package deb

rpm: dist ## Make a package of it in build/rpm, for Fedora and RHEL
	@scripts/install-dependencies package
	@scripts/package rpm

serve: ## Serve the example, or make serve APP=wsgi.py [PORT=8000] [PYTHON=...] [ARGS="more options"]
	@scripts/serve

test: ## Formatting, lints, unit tests, host tests, a wheel, end-to-end tests
	@scripts/test

test-documents: ## Run the commands of the documents, and have Apache read their configurations
	@scripts/test-documents

test-distros: dist ## Package and wheel in root file systems of Debian 12, 13 and testing (as root); writes docs/platforms.md
	@scripts/test-distros

test-reference: ## The end-to-end tests against the original module
	@scripts/test-reference

test-soak: ## The slow end-to-end tests, in both modes: hundreds of restarts under load, gigabytes
	@scripts/test-e2e --ignored

test-browser: ## The tests of pages in a browser (installs one)
	@scripts/install-dependencies browser
	@E2E_MODE=daemon scripts/test-e2e its_page_

test-asan: ## The end-to-end tests with the address sanitizer, in both modes
	@scripts/test-asan

test-container: wheel ## The steps of the container image, and containers of it, without a container engine (as root)
	@scripts/install-dependencies container
	@scripts/test-container

test-fleet: ## Servers behind HAProxy and Apache, restarted and killed under load, in network namespaces (as root)
	@scripts/test-fleet

fuzz: ## Feed the decoders of the wire format with millions of messages: make fuzz [CASES=5000000]
	PROPTEST_CASES=$${CASES:-2000000} cargo test --locked --release -p wsgi-core -p bridge -- wire scoreboard

bench: ## Compare speed and memory with the original module: make bench [ARGS=--quick]
	@scripts/install-dependencies test
	@bench/run $(ARGS)

fmt: ## Format the code
	cargo fmt --all

lint: ## Check formatting, lints and links of the documents
	@scripts/lint
	@scripts/lint-documents

docs: reference ## Make the site of the documents, build/site/index.html
	@scripts/docs

reference: ## Generate docs/directives.md, docs/errors.md, docs/express.md and docs/doctor.md
	cargo run --locked --quiet -p wsgi-core --example directives > docs/directives.md.new
	mv docs/directives.md.new docs/directives.md
	cargo run --locked --quiet -p wsgi-core --example errors > docs/errors.md.new
	mv docs/errors.md.new docs/errors.md
	cargo run --locked --quiet -p mod_wsgi-express --example reference > docs/express.md.new
	mv docs/express.md.new docs/express.md
	cargo run --locked --quiet -p mod_wsgi-express --example doctor > docs/doctor.md.new
	mv docs/doctor.md.new docs/doctor.md

rustdoc: ## The documentation of the code, target/doc
	python=$$(scripts/find-python) && PYO3_PYTHON=$$python cargo doc --locked --workspace --no-deps --document-private-items

clean: ## Remove everything that was built
	cargo clean
	rm -rf build
