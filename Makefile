# Every target makes what it needs first, and does nothing twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test test-all mutants lint bench screenshots snapshots clean

run: $(READY)
	@$(BIN)/mythos-tui $(ARGS)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "slow or not slow"

mutants: $(READY)
	$(BIN)/python tests/mutants.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

screenshots: $(READY)
	$(BIN)/python screenshots/take.py

snapshots: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/mythos_tui --update -m "slow or not slow" -k "page_says or screens_look"

clean:
	rm -rf $(VENV) *.egg-info

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Mythos needs Python 3.11 or newer; set PYTHON=python3.12, say."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
