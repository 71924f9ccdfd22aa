# Everything runs from a virtual environment that the first call makes and later calls reuse, offline.
# `make test` and `make demo` need Python 3.11 or later, pip and make, and nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=
PORT ?= 8000
# Where it is set, each process of pytest compiles all tests anew; see also tests/support/bytecode.py.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL = help
.PHONY: help demo flask fastapi test test-more test-all leaks test-faults test-examples test-libraries lint format docs ci clean

help:
	@echo "make demo     set everything up and run the main job: tenants of three isolations on an embedded PostgreSQL"
	@echo "make flask    serve the example application in Flask at http://localhost:8000; PORT=... for another port"
	@echo "make fastapi  serve the example application in FastAPI"
	@echo "make test     run the test suite; ARGS='-k suspend' and the like are passed to pytest"
	@echo "make test-more  run the tests that make test leaves out, and further cases of the others"
	@echo "make test-all  run all cases of all tests, for an hour or more"
	@echo "make leaks    search for rows that reach another tenant, with 500 sequences of actions in all isolations"
	@echo "make test-faults  run all tests that kill or interrupt processes, servers and tasks, in their large size"
	@echo "make test-examples  run all tests of the example applications; make test has a few of each"
	@echo "make test-libraries  install SQLModel, Litestar, Celery and others, and run the tests and pages about them"
	@echo "make lint     ruff, mypy, pyright, import-linter"
	@echo "make format   format the code with ruff"
	@echo "make docs     build the documentation into docs/_build"
	@echo "make bench    measure tenantkit side by side with its alternatives; ARGS='--only fleet' or --quick"
	@echo "make ci       all that CI does (Debian 12, as root)"

demo: $(VENV)/.examples
	$(BIN)/python -m examples.tracker.demo $(ARGS)

flask fastapi: $(VENV)/.examples
	PORT=$(PORT) $(BIN)/python -m examples.$@_app

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS)

test-more: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --cases=more $(ARGS)

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --cases=all $(ARGS)

# With -s, nothing is lost of what Hypothesis prints; -k leaves out the planted faults, which test-more runs.
leaks: $(VENV)/.test
	$(BIN)/python -m pytest -s --cases=all tests/isolation/test_leaks.py -k nothing_leaks $(ARGS)

FAULTS = $(foreach kind,cancellation cancelled_tasks crashes draining faults interrupted_tasks interruptions moves \
	random_interruptions renaming scheduled_drops signals swap_crashes,$(wildcard tests/*/test_$(kind).py)) \
	tests/isolation/row/test_transfer.py tests/spares/test_keeping.py

test-faults: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --cases=all $(FAULTS) $(ARGS)

test-examples: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --cases=all examples $(ARGS)

test-libraries: $(VENV)/.libraries
	$(BIN)/python -m pytest --cases=all docs/howto/use-with tests/libraries tests/web/test_gunicorn.py \
		tests/web/test_jwt.py tests/web/test_litestar_and_quart.py $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	@! find src -name '*.py' -exec wc -l {} + | awk '$$2 != "total" && $$1 > 350' | grep . || \
		{ echo "These modules have more than 350 lines: split them."; exit 1; }

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx --quiet --no-color --fail-on-warning --keep-going --builder html docs docs/_build/html

ci:
	bash .ci/run

clean:
	rm -rf $(VENV) build dist docs/_build

# $(VENV)/.test is there when the dependency group "test" is installed, as pyproject.toml has it now.
# Debian's Python comes without ensurepip, so pip is installed by the pip outside.
$(VENV)/.%: pyproject.toml
	test -x $(BIN)/pip || $(PYTHON) -m venv --without-pip $(VENV)
	test -x $(BIN)/pip || $(PYTHON) -m pip --quiet --python $(BIN)/python install 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group $*
	@touch $@
.PRECIOUS: $(VENV)/.%
