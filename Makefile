# Every command works on a fresh clone: what needs the environment makes it first.

PYTHON   ?= python3
VENV     := .venv
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.setup-done
PACKAGES := lirpa_core lirpa_ops_vision lirpa_ops_nlp lirpa_perturbations lirpa_training lirpa_testing lirpa_verify
PROJECTS := $(PACKAGES:%=%/pyproject.toml)
INSTALL  := -m pip --disable-pip-version-check install --quiet --no-compile -c constraints.txt
PIP      := $(BIN)/python $(INSTALL)
DIST     := build/dist
SMOKE    := build/smoke-venv
# Nothing is compiled at installation (`--no-compile`): of 15,000 files the checks import a quarter, each compiled when it is.
unexport PYTHONDONTWRITEBYTECODE

# Extra arguments for pytest, the demo or the benchmarks: make test ARGS="-k relu -n 0"
ARGS     ?=
UNIT     := $(wildcard lirpa_*/tests)
WHOLE    := lirpa_testing/src/lirpa_testing/conformance $(UNIT) tests docs README.md $(wildcard lirpa_*/README.md)
# A process that ends while it runs a test (see `faulthandler_timeout`) ends the run.
PYTEST   := $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0
# What finds most in the least time: conformance of all that is registered, random networks in every method, and the core's
# algebra, rules, methods and façade.
FAST     := lirpa_testing/src/lirpa_testing/conformance tests/end_to_end/test_random_graphs.py \
	$(addprefix lirpa_core/tests/,linear rules methods problem plugins api) tests/test_mirror.py tests/packaging tests/docs \
	--ignore=lirpa_core/tests/methods/test_infinities.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-thorough coverage test-fast lint format types docs bench wheels smoke check hooks clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with all packages (editable) and the development tools

$(STAMP): constraints.txt requirements-dev.txt $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("lirpa needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make setup PYTHON=/path/to/python3")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements-dev.txt
	$(PIP) --no-build-isolation -e './lirpa_core[cli]' $(patsubst %,-e ./%,$(filter-out lirpa_core,$(PACKAGES)))
	@touch $@

demo: setup  ## Certify a small digit classifier: a table and a plot
	$(BIN)/python examples/digits/demo.py $(ARGS)

test: setup  ## Run the whole test suite, the documentation's code included
	$(PYTEST) $(or $(ARGS),$(WHOLE))

test-thorough: setup  ## Ask of more cases what the suite asks of few
	$(PYTEST) -m thorough $(or $(ARGS),$(WHOLE))

# Tracing lines doubles the time of tests, and the packages' own tests are enough to say what is covered.
coverage: setup  ## Say which lines the packages' own tests run; fails below 95 %
	$(PYTEST) $(UNIT) --cov --cov-report=term $(ARGS)

test-fast: setup  ## What finds most in under two minutes on two cores
	LIRPA_PROFILE=fast $(BIN)/python -m pytest -n 2 --dist load -q $(FAST) $(ARGS)

lint: setup  ## Style, formatting and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

format: setup  ## Rewrite the sources the way lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup  ## Strict type check
	$(BIN)/mypy

docs: setup  ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

bench: setup  ## Measure speed and memory against plain PyTorch
	$(BIN)/python -m benchmarks $(ARGS)

wheels: setup  ## Build a wheel and an sdist of every package into build/dist
	rm -rf $(DIST)
	for package in $(PACKAGES); do \
		$(BIN)/python -m build --quiet --no-isolation --outdir $(DIST) $$package || exit 1; \
	done
	@ls $(DIST)

smoke: wheels  ## Install only the wheels into an empty environment and use them
	rm -rf $(SMOKE)
	$(PYTHON) -m venv $(SMOKE)
	$(SMOKE)/bin/python $(INSTALL) $(DIST)/lirpa_core-*.whl
	$(SMOKE)/bin/python -I scripts/smoke.py core
	$(SMOKE)/bin/python $(INSTALL) \
		"$$(echo $(DIST)/lirpa_core-*.whl)[cli]" $$(ls $(DIST)/*.whl | grep -v /lirpa_testing-)
	$(SMOKE)/bin/python -I scripts/smoke.py core vision nlp perturbations training verify
	$(SMOKE)/bin/python $(INSTALL) hatchling $(DIST)/lirpa_testing-*.whl
	$(SMOKE)/bin/python -I scripts/smoke_template.py
	$(SMOKE)/bin/python -m pip --disable-pip-version-check uninstall --quiet --yes lirpa-ops-vision
	$(SMOKE)/bin/python -I scripts/smoke.py core nlp perturbations testing training verify

check: lint types test docs  ## Everything that a change has to pass

hooks: setup  ## Check every commit with pre-commit
	$(BIN)/pre-commit install

clean:  ## Remove what the other commands made
	rm -rf $(VENV) build docs/_build docs/_static/pictures docs/api/generated docs/gallery .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
