# `make demo` runs the quickstart sweep to its report; `make check` is what CI runs. Needs Python >= 3.11 and git.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check format lint types install clean
demo: install
	$(BIN)/zoombench run

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: install lint types test

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# The checkout's root is the package, whatever its folder is called: mypy sees it by its real name through a link.
types: install
	mkdir -p $(VENV)/types
	ln -sfn "$(CURDIR)" $(VENV)/types/zoombench
	cd $(VENV)/types && MYPYPATH=. ../bin/mypy --config-file zoombench/pyproject.toml --cache-dir ../mypy \
	    -p zoombench.harness -p zoombench.baselines -p zoombench.datasets -p zoombench.reports

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
