# make train: the environment and the main job. make help: the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := $(VENV)-lowest
LOWEST_TESTS := tests/cli/test_conf.py tests/crf/test_crf_inputs.py tests/crf/test_crf_module.py tests/data tests/metrics \
  tests/models/test_every_network.py tests/prediction/export/test_export.py tests/runs tests/integration/test_train.py \
  tests/test_private_names.py tests/tuning

.DEFAULT_GOAL := help
.PHONY: help setup train test test-all test-lowest lint docs bench bench-compare gpu faults sanitize clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with all dependencies; does nothing if it is up to date

$(READY): pyproject.toml constraints.txt setup.py $(wildcard src/crf/native/*.?pp src/crf/native/kernels/*.?pp)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	  || { echo "error: $(PYTHON) is $$($(PYTHON) -V); Python 3.10 to 3.13 is needed: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@# timm for its tests, without torchvision: that must match the build of torch, and the tests do not need it
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps timm
	@touch $@

train: $(READY) ## train on generated images, with CRF: a few minutes on two cores
	$(BIN)/python -m src.train

test: $(READY) ## run the tests, except those marked slow, which repeat others on more cases
	$(BIN)/python -m pytest

test-all: $(READY) ## run all tests, including the slow ones
	$(BIN)/python -m pytest -m ""

# constraints-lowest.txt pins the lowest versions that pyproject.toml allows, except torch, whose old wheels are for GPUs.
# They have an environment of their own, and need Python 3.11: several of them have no wheels for later versions.
test-lowest: $(LOWEST)/.ready ## run some of the tests with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest $(LOWEST_TESTS)

$(LOWEST)/.ready: pyproject.toml constraints-lowest.txt setup.py
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable ".[dev]"
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints-lowest.txt --no-deps timm
	@touch $@

lint: $(READY) ## run ruff and mypy, and check the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.ready-docs ## build the documentation: docs/_build/index.html
	$(BIN)/python -m sphinx -W --keep-going -n -q docs docs/_build

$(VENV)/.ready-docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	@touch $@

BENCH = $(BIN)/python -m tests.benchmarks

bench: $(READY) ## measure training, prediction, CRF and start against their peers (JSON=FILE keeps the figures)
	$(BENCH) $(if $(JSON),--json "$(JSON)")

bench-compare: $(READY) ## measure another commit, then this tree: make bench-compare BASE=REVISION (ARGS="--only crf")
	@git rev-parse --verify --quiet "$(BASE)^{commit}" >/dev/null || { echo "error: BASE=$(BASE): name a commit" >&2; exit 2; }
	tests/benchmarks/compare.sh "$(BASE)" $(CURDIR)/$(BIN)/python $(ARGS)

gpu: $(READY) ## run all that only a GPU can show, in 8 minutes, and write gpu.json and gpu.md
	$(BIN)/python -m tests.gpu --json gpu.json --markdown gpu.md

faults: $(READY) ## interrupt trainings in many ways, resume them, and print what was lost
	$(BIN)/python -m tests.faults

sanitize: $(READY) ## test the CRF's C++ under the address and undefined-behaviour sanitizers
	tests/crf/sanitize.sh $(CURDIR)/$(BIN)/python

clean: ## remove the environment, caches and build outputs, but not logs
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis src/crf/*.so
