# make demo       install into .venv if needed, then train, diagnose and draw on real cells
# make test       install into .venv if needed, then style, types, layers and tests
# make lint       the first three of those
# make r-check    build and check the R package, with the R that is here
# make notebooks  run the notebooks of examples/, and write their outputs into them
# make mutants    change the source in places drawn at random, and see whether the tests notice (an hour; not in test)
# make clean      remove .venv
#
# PYTHON=python3.12   another interpreter       OUT=folder   where the demo writes
# PYTEST_ARGS="-k kl" arguments for pytest      DEMO_ARGS="--quick"
# NOTEBOOKS="vanishing_kl_cures"   only these
# WORKERS=1           processes that share the tests (all cores)
# MUTANTS="objective --sample 10"   only these parts, and how many places of each file

PYTHON ?= python3
VENV ?= .venv
OUT ?= omicvae_demo
PYTEST_ARGS ?=
DEMO_ARGS ?=
NOTEBOOKS ?=
WORKERS ?= auto
MUTANTS ?=

# On a machine that is shared, threads that wait actively for each other cost several times the work itself.
export OMP_WAIT_POLICY ?= PASSIVE

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint r-check notebooks mutants install clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -n 13

install: $(STAMP)

# The stamp is younger than what it was installed from, so a second run starts at once.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "There is no '$(PYTHON)' here: install Python 3.11 or later, or name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and "omicvae needs Python 3.11 or later, \
	and $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.11" % v)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu it needs the package python3-venv"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/omicvae demo --out $(OUT) $(DEMO_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

r-check: $(STAMP)
	r/check.sh

notebooks: $(STAMP)
	$(BIN)/python tools/notebooks.py $(NOTEBOOKS)

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadscope $(PYTEST_ARGS)

# one thread: a process that has started more must not fork
mutants: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tools/mutants.py $(MUTANTS)

clean:
	rm -rf $(VENV)
