# quickstart, test, lint, bench: everything runs in .venv, which is made and filled on first use.
# Another Python: make PYTHON=python3.12 quickstart      One benchmark: make bench NAME=serialize

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEEDS := mien needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python

.PHONY: quickstart test lint bench

quickstart: $(VENV)/installed-quickstart
	$(BIN)/mien quickstart

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-dev
	@$(BIN)/python tests/benchmarks/run.py $(NAME)

# Runs again only when pyproject.toml is newer than the stamp that it leaves.
$(VENV)/installed-%: pyproject.toml | $(BIN)/python
	@echo "make: installing mien[$*] into $(VENV); one to five minutes, once" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]" >&2
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON): not found. $(NEEDS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1). $(NEEDS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
