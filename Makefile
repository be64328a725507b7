# make demo: simulate, train, predict, judge; writes demo/report.html.   make test: the whole suite.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test experiments models insight install format check clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tuningfork needs Python 3.11 or newer, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/tuningfork demo --out demo

# The historic experiments, all of them in under an hour on 2 cores; DATA= a folder with your copy of the real galaxies.
experiments: install
	$(BIN)/tuningfork reproduce all --size hour --out experiments $(if $(DATA),--data $(DATA))

# The models that are shipped, made again from DATA= your copy of the real galaxies, in OUT=: in an hour and a quarter on 2 cores.
OUT ?= reference
models: install
	$(BIN)/tuningfork reference --data $(or $(DATA),$(error name your copy of the real galaxies: make models DATA=DIR)) --out $(OUT)

# Every picture of docs/insight.md, of simulated galaxies, or with DATA= of your copy of the real ones, in OUT=: some minutes.
insight: OUT = insight
insight: install
	$(BIN)/python benchmarks/insight.py --out $(OUT) $(if $(DATA),--data $(DATA))

test: install  # a process per core, with one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

format: install
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

check: install
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

clean:
	rm -rf $(VENV) demo build
