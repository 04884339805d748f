# Everything runs in .venv, which is made when it is missing or pyproject.toml changed.
PYTHON ?= python3
BIN := .venv/bin
# What is the project's: examples that were saved beside it are nobody's business.
CODE := service alerts tests benchmarks docs
TEXTS := README.md CHANGELOG.md CONTRIBUTING.md
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
# Compiled once: tests start the command hundreds of times.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run demo test lint format bench e2e clean

run: .venv/.installed
	$(BIN)/gatewatch serve --config gatewatch.yaml

demo: .venv/.installed
	$(BIN)/gatewatch demo

test: .venv/.installed-dev
	$(BIN)/pytest --numprocesses 3 --dist worksteal

lint: .venv/.installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE) $(TEXTS)
	$(BIN)/mypy

format: .venv/.installed-dev
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE) $(TEXTS)

# Without matplotlib there is no plot, and everything else.
bench: .venv/.installed-dev
	-$(INSTALL) --editable '.[bench]'
	for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

e2e: .venv/.installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/external/run

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/pip pyproject.toml
	$(INSTALL) --editable .
	touch $@

.venv/.installed-dev: .venv/bin/pip pyproject.toml
	$(INSTALL) --editable '.[dev]'
	touch $@ .venv/.installed

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
