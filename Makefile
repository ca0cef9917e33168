# make demo | make test | make bench | make lint: each sets up .venv first where it is missing or older than the pins.
# PIP_ARGS is handed to pip, for example: make demo PIP_ARGS="--index-url https://download.pytorch.org/whl/cpu --extra-index-url https://pypi.org/simple"

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)

# Whether an extension can be compiled against this Python.
HEADERS := import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))

.PHONY: demo test bench lint format pins clean

demo: $(STAMP)
	$(BIN)/streamsample demo

test: $(STAMP)
	$(BIN)/python -m pytest

# Measures for minutes; wants an idle machine. `make test` runs the same benchmarks once, small, as tests.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.report

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The stamp is written last: an installation that was interrupted, or made by hand, is made again.
$(STAMP): pyproject.toml setup.py constraints.txt ext/_twin.pyx
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 with venv found; install python3 and python3-venv, or run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c '$(HEADERS)' || echo "note: no Python.h here (Debian: python3-dev), so the small part in C is left out; all else works"
	$(BIN)/python -c '$(HEADERS)' || export STREAMSAMPLE_NO_TWIN=1; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	touch $@

pins: $(STAMP)
	{ head -n 1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) build streamsample/*.so *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis benchmarks/.cache
