# Every target does its own set-up: python 3.11+, pip and git are all a machine needs.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := offline,llm,train,eval,search,serve,scale,space,export,data,docs,dev
export TOKENIZERS_PARALLELISM ?= true
# One process a core, one thread each; the tests of a file share its fixtures, so they stay together, and the longest
# files, which tests/conftest.py puts first, are begun first.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: setup demo test quick lint docs throughput clean

setup: .venv/ready

.venv/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("LiRA needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	# Its metadata ask for huggingface_hub < 2, which is for downloads alone: the tests give it a folder.
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps fastembed loguru mmh3 py-rust-stemmers
	touch .venv/ready

demo: setup
	$(BIN)/lira demo --output runs/demo

test: setup
	$(TEST)

# The tests that are not marked slow: two minutes on two cores.
quick: setup
	$(TEST) -m 'not slow'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy modeling_lira dataset_builder eval tests

# Guide and API as HTML; any warning is an error.
docs: setup
	$(BIN)/python .ci/docs/build.py runs/docs

throughput: setup
	$(BIN)/python -m eval throughput

clean:
	rm -rf .venv build runs *.egg-info .pytest_cache .mypy_cache .ruff_cache
