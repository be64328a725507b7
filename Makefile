# make demo: simulate, train, predict, judge; writes demo/report.html.   make test: the whole suite.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test install format check clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tuningfork needs Python 3.11 or newer, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/tuningfork demo --out demo

test: install
	$(BIN)/python -m pytest

format: install
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

check: install
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

clean:
	rm -rf $(VENV) demo build
