# Everything runs in .venv at the root, which the first target that needs it creates.
PYTHON ?= python3
BIN := .venv/bin
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	-c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check format soak bench docs clean

help: ## say what each target does
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

demo: .venv/.run ## write a synthetic store, train on it, detect and report
	rm -rf runs/demo
	$(BIN)/kview demo --out runs/demo

test: .venv/.dev ## run the suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4

bench: .venv/.dev ## measure everything beside its peers: minutes, on a quiet machine
	$(BIN)/python benchmarks/run.py

soak: .venv/.dev ## run the long tests: minutes to hours
	$(BIN)/python -m pytest -q -m soak
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -q tests/contracts tests/test_agreement.py

# The reference is read from the sources, through links that give each room its name.
docs: .venv/.dev ## build the site
	mkdir -p build/rooms/kview
	for room in contracts data eval train cli; do \
		ln -sfn ../../../$$room build/rooms/kview/$$room; \
	done
	$(BIN)/mkdocs build

check: .venv/.dev .venv/.typed ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/.dev ## sort imports, mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# This Python's own pip, where it has one, puts the newest into .venv in a third of venv's time.
.venv/.run: pyproject.toml constraints.txt
	test -x $(BIN)/pip || { $(PYTHON) -m venv --without-pip .venv && \
		$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --no-compile pip; } || \
		$(PYTHON) -m venv --upgrade-deps .venv
	$(PIP) -e .
	touch $@

.venv/.dev: .venv/.run
	$(PIP) -e '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true # some package ships what is no Python 3
	touch $@

# pyright cannot follow an editable install of mapped folders: tests are typed against a plain one.
.venv/.typed: .venv/.dev $(shell find contracts data eval train cli -name "*.py")
	rm -rf .venv/typed build
	$(PIP) --no-deps --upgrade --target .venv/typed .
	rm -rf build
	touch $@

clean: ## delete what was installed, built and run
	rm -rf .venv build runs site *.egg-info
