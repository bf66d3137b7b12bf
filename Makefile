# quickstart, test, lint, bench: everything runs in .venv, which is made and filled on first use.
# Another Python: make PYTHON=python3.12 quickstart      One benchmark: make bench NAME=serialize

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test lint bench

quickstart: $(VENV)/installed-quickstart
	$(BIN)/mien quickstart

test: lint
	$(BIN)/python -m pytest

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
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed; get Python 3.11, 3.12 or 3.13, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit("make: $(PYTHON) is Python %d.%d; mien runs on 3.11, 3.12 and 3.13: make PYTHON=python3.12 ..." % v[:2])'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
