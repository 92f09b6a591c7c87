# Two commands matter: `make run` and `make test`. Everything sets itself up in .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SETUP  := $(VENV)/.installed

CASE ?= steady

.PHONY: run test check types bench bench-full profile conformance docs fmt clean

run: $(SETUP)            ## serve on 127.0.0.1:8080 with the embedded demo provider; ARGS="--port 9000"
	@$(BIN)/stream-gateway serve $(ARGS)

test: check              ## everything: format, lint, types, all tests
	$(BIN)/python -m pytest

check: types             ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(SETUP)
	$(BIN)/mypy

bench: $(SETUP)          ## the quick benchmark: table and report in a few minutes
	$(BIN)/python -m bench --quick

bench-full: $(SETUP)     ## all targets, all cases, three repeats; peers install themselves under .bench
	$(BIN)/python -m bench --full

profile: $(SETUP)        ## where the time goes: make profile CASE=steady
	$(BIN)/python -m bench profile $(CASE)

conformance: $(SETUP)    ## the Autobahn testsuite against the sockets' code (needs Python 2.7)
	$(BIN)/python -m tests.conformance $(ARGS)

docs: $(SETUP)           ## the pages that are made from the code
	$(BIN)/python -m stream_gateway.observe.reference > docs/metrics.md

fmt: $(SETUP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(SETUP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "stream-gateway needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group dev --editable .
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
