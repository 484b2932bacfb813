# make demo: environment, PDE data, training, comparison, report.   make test: environment, tests.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.PHONY: help env demo docs test test-ci test-all test-portable faults check bench gpu recipes
.DEFAULT_GOAL := help

BIN := .venv/bin
ENVIRONMENT := .venv/.made-for-gnvpro
PYTEST_WORKERS ?= 2

help:
	@echo "make demo           PDE data, training, comparison with the PDE, report in runs/demo/report.html"
	echo "make docs           the documentation, its examples run: docs/_build/html/index.html"
	echo "make test           the tests that take seconds"
	echo "make test-ci        all but those that repeat what others show with more seeds, kills and cases"
	echo "make test-all       all tests"
	echo "make test-portable  all tests, with the kernels that every x86-64 processor has"
	echo "make faults         kills, damage and malformed input, hundreds of each, figures to runs/faults.jsonl"
	echo "make check          formatting, lint, types, direction of imports"
	echo "make bench          seconds of the parts that matter, to runs/benchmarks.json"
	echo "make gpu            tests on CUDA, the study of sizes and a profile, to runs/gpu.md; without CUDA the tests on fake tensors"
	echo "make recipes        the scripts of docs/clients against a server, in environments of their own in .recipes"
	echo "make env            the environment in .venv, which the others make as needed"

env: $(ENVIRONMENT)

$(ENVIRONMENT): pyproject.toml constraints.txt
	@stop() { echo "$$1" >&2; exit 1; }
	if [ "$$(uname -s) $$(uname -m)" != "Linux x86_64" ]; then
	  echo "note: no FEniCSx wheel for $$(uname -s) $$(uname -m): training and prediction will work; to solve PDEs install conda-forge's fenics-dolfinx and pip install -e . into that environment" >&2
	elif ! command -v gcc > /dev/null; then
	  stop "gcc is missing, and FEniCSx compiles its forms with it: install it (Debian, Ubuntu: apt install gcc; conda: conda install -c conda-forge c-compiler fenics-dolfinx)"
	fi
	if ! [ -x $(BIN)/python ]; then
	  found=""
	  for python in python3.12 python3.13 python3.14 python3; do
	    if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 12))' > /dev/null 2>&1; then found="$$python"; break; fi
	  done
	  [ -n "$$found" ] || stop "no Python 3.12 or newer with venv on the PATH: install one (Debian, Ubuntu: apt install python3 python3-venv; conda: conda install -c conda-forge python=3.12 fenics-dolfinx)"
	  "$$found" -m venv .venv
	fi
	if command -v uv > /dev/null; then install="uv pip install --python $(BIN)/python"
	elif $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; then install="$(BIN)/uv pip install --python $(BIN)/python"
	else install="$(BIN)/python -m pip install"
	fi
	$$install -c constraints.txt -e ".[pde,dev]"
	touch $@

demo: $(ENVIRONMENT)
	@$(BIN)/gnvpro demo --out runs/demo

# Without a network, with warnings as errors; then every link of the pages is followed. GNVPRO_DOCS_ONLINE=1: names of NumPy,
# SciPy, torch and xarray become links.
docs: $(ENVIRONMENT)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/sphinx-build -b html -n -W --keep-going docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html

# Dozens of processes are started, and compile what they import each time where bytecode is not written.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n $(PYTEST_WORKERS) --dist worksteal

test: $(ENVIRONMENT)
	@$(PYTEST)

test-ci: $(ENVIRONMENT)
	@$(PYTEST) -m 'not exhaustive'

test-all: $(ENVIRONMENT)
	@$(PYTEST) -m ''

# Results that follow rounding come out otherwise on other processors. No test may rest on one of them.
PORTABLE := ATEN_CPU_CAPABILITY=default OPENBLAS_CORETYPE=Nehalem MKL_CBWR=COMPATIBLE NUMBA_CPU_NAME=generic
test-portable: $(ENVIRONMENT)
	@$(PORTABLE) $(PYTEST) -m ''

faults: $(ENVIRONMENT)
	@mkdir -p runs
	rm -f runs/faults.jsonl
	GNVPRO_FAULTS=$(CURDIR)/runs/faults.jsonl $(PYTEST) -m '' tests/faults

check: $(ENVIRONMENT)
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# Samplers that know nothing of gnvpro, at the versions that are written beside their scripts.
RECIPES := .recipes
$(RECIPES)/%/.made: $(ENVIRONMENT) docs/clients/requirements-%.txt
	@$(BIN)/python -m venv --clear $(@D)
	if command -v uv > /dev/null; then install="uv pip install --python $(@D)/bin/python"
	elif [ -x $(BIN)/uv ]; then install="$(BIN)/uv pip install --python $(@D)/bin/python"
	else install="$(@D)/bin/python -m pip install"
	fi
	$$install -r docs/clients/requirements-$*.txt
	touch $@

recipes: $(RECIPES)/clients/.made $(RECIPES)/tinyda/.made
	@GNVPRO_RECIPES=$(CURDIR)/$(RECIPES) OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -rs -s -m '' tests/apps/serving/test_recipes.py

bench: $(ENVIRONMENT)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.run --out runs/benchmarks.json

# The environment of a machine with CUDA may be another one: make gpu PYTHON=python3.12 needs torch, and no FEniCSx.
gpu: PYTHON ?= $(BIN)/python
gpu:
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PYTHON) -m pytest -rs -m '' tests/gpu
	$(PYTHON) -m tests.benchmarks.gpu --out runs/gpu.md
