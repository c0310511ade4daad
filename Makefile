# The two commands: `make run` opens the page, `make test` checks everything. Each installs what is missing into .venv.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: run test test-gpu lint clean

run: $(STAMP)
	$(BIN)/onceread serve

test: $(STAMP) lint
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

# On a machine with a GPU and its own PyTorch: the kernels' tests at full size. `make test` runs them small, on the CPU.
test-gpu:
	$(PYTHON) -m pytest tests/kernels tests/model --ignore=tests/model/training

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy app kernels model storage ui

# The stamp is newer than what it was installed from: an edited pyproject.toml or constraints.txt installs again.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Onceread needs Python 3.11 or newer; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m model.single
	touch $(STAMP)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
