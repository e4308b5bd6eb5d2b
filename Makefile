# Every target brings what it needs; `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
RUNTIME ?= auto
SEED ?=
TARGET ?=
JOBS ?=
ARGS ?=
REPEAT ?= 3
# Minutes; each command that is bounded by it has a default of its own.
WITHIN ?=
# Tests wait for servers most of the time: see tests/support/turns.py.
WORKERS ?= 3

# The caller's settings of Python and pip are for other programs: see isolation.py. One of them,
# without which images are often built, would have every start compile Matplotlib anew.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONNOUSERSITE PYTHONOPTIMIZE \
	PYTHONWARNINGS PYTHONINSPECT PYTHONDEVMODE PYTHONPLATLIBDIR PYTHONEXECUTABLE PYTHONBREAKPOINT \
	PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
ISOLATED := -P -s harness/lossmeter/world/isolation.py
LOCK := $(BIN)/python $(ISOLATED) $(BIN)/uv pip compile
LOCKED := .venv/.locked
READY := .venv/.ready
# make exits with 2 whenever a command fails, whatever its own exit code says.
SAY_CODE = || { code=$$?; \
	echo "exit code $$code (make itself exits with 2 on every failure)" >&2; exit $$code; }
OPTIONS := --runtime $(RUNTIME) $(if $(SEED),--seed $(SEED)) $(foreach t,$(TARGET),--target $(t)) $(ARGS)
AT_ONCE := $(if $(JOBS),--jobs $(JOBS))

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## /{sub("%","NAME",$$1); printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "settings: RUNTIME=auto|local|docker|kubernetes  SEED=42  TARGET='channel redis'  JOBS=1|2|auto  REPEAT=3  WITHIN=60  PYTHON=python3.12"

.PHONY: experiment-%
experiment-%: $(READY) ## run one experiment, e.g. make experiment-crash
	@$(BIN)/lossmeter run $* $(OPTIONS) $(AT_ONCE) $(SAY_CODE)

.PHONY: experiments
experiments: $(READY) ## run all experiments; one table in the end
	@$(BIN)/lossmeter run all $(OPTIONS) $(AT_ONCE) $(SAY_CODE)

.PHONY: search-%
search-%: $(READY) ## find the moments at which a kill loses, e.g. make search-crash TARGET=redis-list
	@$(BIN)/lossmeter search $* $(OPTIONS) $(SAY_CODE)

.PHONY: durability
durability: $(READY) ## measure what an ack of each target is worth
	@$(BIN)/lossmeter durability $(OPTIONS) $(SAY_CODE)

.PHONY: test
test: $(READY) ## run all tests, on real servers
	@$(BIN)/python -P -m lossmeter.world.services
	@$(BIN)/python -m tests.support.suite -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

.PHONY: check
check: $(READY) ## ruff, mypy strict and the import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: bench
bench: $(READY) ## measure the instrument beside its peers, as ratios within one run
	@$(BIN)/python -m bench.tools
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-%
bench-%: $(READY) ## measure one part, e.g. make bench-reconcile ARGS="--piece 10M"
	@$(BIN)/python -m bench.tools
	@$(BIN)/python -m bench $* $(ARGS)

.PHONY: bench-load
bench-load: $(READY) ## measure how fast events are sent: by HTTP, and by every other ingress
	@$(BIN)/python -m bench.tools
	@$(BIN)/python -m bench load ingresses $(ARGS)

.PHONY: prevented-faults
prevented-faults: $(READY) ## prevent each fault silently, and write docs/prevented-faults.md
	@$(BIN)/python -m tests.support.prevented

.PHONY: attack
attack: $(READY) ## kill, interrupt and feed nonsense at random; tables in results/attack/
	@code=0; $(BIN)/python -m tests.attack.fuzz $(if $(SEED),--seed $(SEED)) $(FUZZ) || code=$$?; \
	$(BIN)/python -m tests.attack.kills --fresh $(if $(SEED),--seed $(SEED)) $(KILLS) || code=$$?; \
	exit $$code

.PHONY: results
results: $(READY) ## run what is missing of everything, REPEAT=3 times; write results/README.md (WITHIN=360 minutes)
	@$(BIN)/lossmeter results --repeat $(REPEAT) $(if $(WITHIN),--within-min $(WITHIN)) $(AT_ONCE) --runtime $(RUNTIME) $(if $(SEED),--seed $(SEED)) $(foreach t,$(TARGET),--target $(t)) $(ARGS) $(SAY_CODE)

.PHONY: stale-results
stale-results: $(READY) ## list pages of results/ that are older than what their numbers rest on
	@$(BIN)/lossmeter results --stale $(SAY_CODE)

.PHONY: board
board: $(READY) ## run the board of frameworks and write results/frameworks (bounded: WITHIN=60 minutes)
	@$(BIN)/lossmeter board $(if $(WITHIN),--within-min $(WITHIN)) $(AT_ONCE) $(if $(SEED),--seed $(SEED)) $(foreach t,$(TARGET),--target $(t)) $(ARGS) $(SAY_CODE)

.PHONY: reported
reported: $(READY) ## run what known reports of losses are about, and write results/reported.md (WITHIN=60 minutes)
	@$(BIN)/lossmeter reported $(if $(WITHIN),--within-min $(WITHIN)) $(if $(SEED),--seed $(SEED)) $(ARGS) $(SAY_CODE)

.PHONY: worked-numbers
worked-numbers: $(READY) ## run the analysis' worked numbers 5 times each; write results/worked-numbers.md
	@$(BIN)/lossmeter worked-numbers --runtime $(RUNTIME) $(if $(SEED),--seed $(SEED)) $(ARGS) $(SAY_CODE)

.PHONY: browser
browser: $(READY) ## install the browser that the tests of the pages need
	@$(BIN)/python -m tests.support.browser

.PHONY: pictures
pictures: $(READY) ## draw docs/*.png anew: make pictures RUN=results/runs/NAME
	@$(BIN)/python -m tests.support.pictures $(RUN) results/matrix.html docs

.PHONY: list
list: $(READY) ## show experiments and targets
	@$(BIN)/lossmeter list

.PHONY: doctor
doctor: $(READY) ## say what this machine can run
	@$(BIN)/lossmeter doctor $(SAY_CODE)

.PHONY: servers
servers: $(READY) ## bring the real servers into the cache
	@$(BIN)/python -P -m lossmeter.world.services

.PHONY: images
images: $(READY) ## build the container images
	@$(BIN)/lossmeter images

.PHONY: docker-engine
docker-engine: $(READY) ## install and start a Docker engine where there is none
	@$(BIN)/python -P -m lossmeter.world.install.docker_engine

.PHONY: docker-engine-stop
docker-engine-stop: $(READY) ## stop the engine that make docker-engine started
	@$(BIN)/python -P -m lossmeter.world.install.docker_engine --stop

.PHONY: kubernetes
kubernetes: docker-engine ## build and start a Kubernetes cluster of one node; Docker builds its images
	@$(BIN)/python -P -m lossmeter.world.install.kubernetes

.PHONY: kubernetes-down
kubernetes-down: $(READY) ## remove that cluster with all its traces
	@$(BIN)/python -P -m lossmeter.world.install.kubernetes --down

.PHONY: recover
recover: $(READY) ## remove what a killed harness left behind
	@$(BIN)/lossmeter recover

.PHONY: lock
lock: $(READY) ## resolve the dependencies anew into requirements.lock
	@echo uv | $(LOCK) - --universal --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --quiet --upgrade -o bootstrap.lock
	@$(LOCK) pyproject.toml --extra all --extra bench --extra dev --universal --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements.lock
	@$(LOCK) targets/dispatcher/requirements.in --constraint requirements.lock \
		--universal --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
		-o targets/dispatcher/requirements.lock
	@$(LOCK) harness/lossmeter/world/runtimes/images/load/requirements.in --constraint requirements.lock \
		--universal --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
		-o harness/lossmeter/world/runtimes/images/load/requirements.lock

.PHONY: clean
clean: ## remove the virtual environment and everything built; results stay
	@if [ -x $(BIN)/lossmeter ]; then $(BIN)/lossmeter recover; fi
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): $(LOCKED) pyproject.toml
	@$(BIN)/python $(ISOLATED) $(BIN)/python -P -s -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

$(LOCKED): requirements.lock bootstrap.lock
	@$(PYTHON) -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is missing or older than 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 4; }
	@$(PYTHON) -I -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 4; }
	@echo "virtual environment: $$($(PYTHON) --version), $$(grep -c == requirements.lock) packages with checked hashes" >&2
	@rm -rf .venv && $(PYTHON) $(ISOLATED) $(PYTHON) -P -s -m venv .venv
	@$(BIN)/python $(ISOLATED) $(BIN)/python -P -s -m pip install --require-hashes -r bootstrap.lock >&2
	@# uv takes a fifth of pip's time, and asks the index that pip is configured for.
	@$(BIN)/python $(ISOLATED) $(BIN)/uv pip install --python $(BIN)/python --system-certs --require-hashes \
		-r requirements.lock 2>&1 | \
		PYTHONPATH=harness $(BIN)/python -P -s -m lossmeter.world.install.announced packages
	@touch $(LOCKED)
