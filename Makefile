# demo, test, quality and bench are all there is to know. Each makes .venv and installs first, where that is missing.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test quality bench

demo: .venv/installed
	$(BIN)/python scripts/demo.py

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

quality: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python benchmarks/toy_matches.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,tracking]"
	touch $@
