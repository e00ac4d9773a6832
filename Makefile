# make run   trains the README's model and prints the path of its report
# make test  everything that must hold before a change lands
# Both make .venv themselves, with PYTHON (default python3), and start at once the second time.
# make scorecard   checks published libraries, in an environment of their own, and writes docs/scorecard.md

PYTHON ?= python3
RUN ?= runs/mnist
VENV := .venv
BIN := $(VENV)/bin
PYTEST_FLAGS ?= -n 2 --dist worksteal

MADE := $(VENV)/.made
USER := $(VENV)/.installed-user
DEV := $(VENV)/.installed-dev

SCORE := .venv-scorecard
SCORED := $(SCORE)/.installed
FOREIGN := tools/scorecard/requirements.txt
ALONE := tools/scorecard/requirements-no-deps.txt

.PHONY: run test lint types imports unit docs format scorecard
.NOTPARALLEL:
.DELETE_ON_ERROR:

run: $(USER)
	@$(BIN)/linsight train generate --run $(RUN)

test: lint types imports unit docs
	@echo "== all of make test passed"

lint: $(DEV)
	@echo "== lint and format: ruff"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(DEV)
	@echo "== types: basedpyright"
	@$(BIN)/basedpyright

imports: $(DEV)
	@echo "== import contracts: import-linter"
	@$(BIN)/lint-imports --no-cache

unit: $(DEV)
	@echo "== tests: pytest"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

docs: $(DEV)
	@echo "== documentation: sphinx, warnings are errors"
	@OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

format: $(DEV)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

scorecard: $(SCORED)
	@OMP_NUM_THREADS=1 $(SCORE)/bin/python -m tools.scorecard

$(MADE):
	@$(PYTHON) -c 'pass' 2>/dev/null || { \
	  echo "linsight needs Python 3.11 or newer, and '$(PYTHON)' does not run; install it, or: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "linsight needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V); try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make environments: its venv module is missing; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "== making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(USER): pyproject.toml | $(MADE)
	@echo "== installing linsight into $(VENV): once, a few minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# --group needs pip 25.1; the environment's own pip is as old as its Python.
$(DEV): pyproject.toml | $(MADE)
	@echo "== installing linsight and its tools into $(VENV): once, a few minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $(USER) $@

# What does not install is told on the page, and the other libraries are checked.
$(SCORED): pyproject.toml $(FOREIGN) $(ALONE)
	@echo "== installing published libraries into $(SCORE): once, a few minutes"
	@$(PYTHON) -m venv $(SCORE)
	@$(SCORE)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 setuptools wheel --editable .
	@$(SCORE)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(FOREIGN)
	@grep -o '^[a-z][^ ]*' $(ALONE) | while read -r package; do \
	  $(SCORE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation "$$package" \
	    || echo "$$package does not install here"; done
	@touch $@
