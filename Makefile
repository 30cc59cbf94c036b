# Every target makes its own .venv when there is none: with uv where it is on the PATH, else with python3 -m venv.
# Installed is what the locks name, each file checked against its hash, and then this checkout itself.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# The first Python on the PATH that is new enough; name another with `make PYTHON=/path/to/python3.12 …`.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$candidate"; break; }; done)
# The demo needs no test tools; where they are installed already, it needs nothing more.
DEMO := $(VENV)/$(if $(wildcard $(VENV)/.dev),.dev,.demo)
# How often each fault is brought about, every time at other moments.
SEEDS ?= 10
FAULTS ?= tests
DATA ?= examples/bank/data/transactions.csv.gz

.PHONY: help setup demo test check faults bench format lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## make .venv with everything that the tests need
	@echo "ready: source $(BIN)/activate"

demo: $(DEMO) ## 47,527 real bank transactions through a real Kafka and Postgres
	$(BIN)/python -m examples.bank.import_history $(DATA)

check: $(VENV)/.dev ## static checks and unit tests: seconds, no servers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --numprocesses 2 tests/unit

test: check ## everything: static checks, unit, integration and faults, on a real broker and Postgres
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests/integration tests/faults

# Two brokers at a time at most: more of them would measure the machine.
faults: $(VENV)/.dev ## hours of faults: each with SEEDS=10 seeds, long sweeps, more examples (or FAULTS="tests/faults/test_x.py")
	EVENTSOURCE_FAULTS_SEEDS=$(SEEDS) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
		-m "faults or sweep or hypothesis" $(FAULTS)

bench: $(VENV)/.dev ## measure this machine, an hour (or BENCH="commands latency"); writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(BENCH)

format: $(VENV)/.dev ## format the code and write the generated pages
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m eventsource config reference > docs/settings.md

# --- installing ---------------------------------------------------------------------------------------------------

ifneq ($(UV),)
make_venv = "$(UV)" venv --quiet --allow-existing $(VENV)
# Compiled at once as pip does: where Python may not write bytecode, every start would compile all libraries anew.
install = "$(UV)" pip install --quiet --compile-bytecode --python $(BIN)/python
else
make_venv = $(if $(PYTHON),$(PYTHON) -m venv $(VENV),\
	{ echo "Python 3.11 or newer is needed and none is on the PATH: install it, or name it with make PYTHON=…" >&2; exit 1; })
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

$(BIN)/python:
	@echo "making $(VENV)"
	@$(make_venv)

# A stamp per lock: installed again when the lock or the project's own metadata changed, otherwise not at all.
$(VENV)/.dev $(VENV)/.demo: $(VENV)/.%: requirements/%.lock pyproject.toml | $(BIN)/python
	@echo "installing requirements/$*.lock"
	@$(install) --require-hashes --requirement requirements/$*.lock
	@$(install) --no-deps --no-build-isolation --editable .
	@touch $@

# --- locking ------------------------------------------------------------------------------------------------------

compile = $(if $(UV),"$(UV)",$(error uv is needed to make the locks: install it first)) pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)

lock: ## resolve the dependencies anew, within what is locked (UPGRADE=--upgrade: the newest)
	$(compile) pyproject.toml requirements/build.in --extra dev --output-file requirements/dev.lock
	$(compile) pyproject.toml requirements/build.in --extra embedded --constraint requirements/dev.lock --output-file requirements/demo.lock
	$(compile) pyproject.toml requirements/build.in --constraint requirements/dev.lock --output-file requirements/runtime.lock
