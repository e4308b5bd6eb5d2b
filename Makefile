# Every target brings what it needs; `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
RUNTIME ?= auto
SEED ?=
TARGET ?=
ARGS ?=
WITHIN ?= 60

BIN := .venv/bin
LOCKED := .venv/.locked
READY := .venv/.ready
OPTIONS := --runtime $(RUNTIME) $(if $(SEED),--seed $(SEED)) $(foreach t,$(TARGET),--target $(t)) $(ARGS)

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## /{sub("%","NAME",$$1); printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "settings: RUNTIME=auto|local|docker|kubernetes  SEED=42  TARGET='channel redis'  PYTHON=python3.12"

.PHONY: experiment-%
experiment-%: $(READY) ## run one experiment, e.g. make experiment-crash
	@$(BIN)/harness run $* $(OPTIONS)

.PHONY: experiments
experiments: $(READY) ## run all experiments; one table in the end
	@$(BIN)/harness run all $(OPTIONS)

.PHONY: search-%
search-%: $(READY) ## find the moments at which a kill loses, e.g. make search-crash TARGET=redis-list
	@$(BIN)/harness search $* $(OPTIONS)

.PHONY: durability
durability: $(READY) ## measure what a yes of each target is worth
	@$(BIN)/harness durability $(OPTIONS)

.PHONY: test
test: $(READY) ## run all tests, on real servers
	@$(BIN)/python -m harness.services
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: $(READY) ## ruff, mypy strict and the import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: bench
bench: $(READY) ## measure the instrument beside its peers, as ratios within one run
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-%
bench-%: $(READY) ## measure one part, e.g. make bench-reconcile ARGS="--piece 10M"
	@$(BIN)/python -m bench $* $(ARGS)

.PHONY: prevented-faults
prevented-faults: $(READY) ## prevent each fault silently, and write docs/prevented-faults.md
	@$(BIN)/python -m tests.prevented

.PHONY: results
results: $(READY) ## run everything once and write results/README.md (bounded: WITHIN=60 minutes)
	@$(BIN)/harness results --within-min $(WITHIN) --runtime $(RUNTIME) $(if $(SEED),--seed $(SEED)) $(foreach t,$(TARGET),--target $(t)) $(ARGS)

.PHONY: worked-numbers
worked-numbers: $(READY) ## run the analysis' worked numbers 5 times each; write results/worked-numbers.md
	@$(BIN)/harness worked-numbers --runtime $(RUNTIME) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: browser
browser: $(READY) ## install the browser that the tests of the pages need
	@$(BIN)/python -m tests.browser

.PHONY: pictures
pictures: $(READY) ## draw docs/*.png anew: make pictures RUN=results/runs/NAME
	@$(BIN)/python -m tests.pictures $(RUN) results/matrix.html docs

.PHONY: list
list: $(READY) ## show experiments and targets
	@$(BIN)/harness list

.PHONY: doctor
doctor: $(READY) ## say what this machine can run
	@$(BIN)/harness doctor

.PHONY: servers
servers: $(READY) ## bring the real servers into the cache
	@$(BIN)/python -m harness.services

.PHONY: images
images: $(READY) ## build the container images
	@$(BIN)/harness images

.PHONY: docker-engine
docker-engine: $(READY) ## install and start a Docker engine where there is none
	@$(BIN)/python -m harness.docker_engine

.PHONY: docker-engine-stop
docker-engine-stop: $(READY) ## stop the engine that make docker-engine started
	@$(BIN)/python -m harness.docker_engine --stop

.PHONY: kubernetes
kubernetes: docker-engine ## build and start a Kubernetes cluster of one node; Docker builds its images
	@$(BIN)/python -m harness.kubernetes_cluster

.PHONY: kubernetes-down
kubernetes-down: $(READY) ## remove that cluster with all its traces
	@$(BIN)/python -m harness.kubernetes_cluster --down

.PHONY: recover
recover: $(READY) ## remove what a killed harness left behind
	@$(BIN)/harness recover

.PHONY: lock
lock: $(READY) ## resolve the dependencies anew into requirements.lock
	@echo uv | $(BIN)/uv pip compile - --universal --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --quiet --upgrade -o bootstrap.lock
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra bench --extra fast --universal --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements.lock
	@$(BIN)/uv pip compile targets/dispatcher/requirements.in --constraint requirements.lock \
		--universal --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
		-o targets/dispatcher/requirements.lock
	@$(BIN)/uv pip compile harness/runtimes/images/load/requirements.in --constraint requirements.lock \
		--universal --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
		-o harness/runtimes/images/load/requirements.lock

.PHONY: clean
clean: ## remove the virtual environment and everything built; results stay
	@if [ -x $(BIN)/harness ]; then $(BIN)/harness recover; fi
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): $(LOCKED) pyproject.toml
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

$(LOCKED): requirements.lock bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is missing or older than 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 4; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 4; }
	@echo "virtual environment: $$($(PYTHON) --version), $$(grep -c == requirements.lock) packages with checked hashes" >&2
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r bootstrap.lock
	@# uv takes a fifth of pip's time; it is told of the index that pip is configured for.
	@index="$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	$(BIN)/uv pip install --python $(BIN)/python --system-certs --require-hashes \
		-r requirements.lock 2>&1 | grep -v '^ +' >&2
	@touch $(LOCKED)
