# Everything runs in .venv at the root, which the first target that needs it creates.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check soak bench docs clean

demo: .venv/.run
	rm -rf runs/demo
	$(BIN)/kview demo --out runs/demo

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4

bench: .venv/.dev
	$(BIN)/python benchmarks/run.py

soak: .venv/.dev
	$(BIN)/python -m pytest -q -m soak
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -q tests/contracts tests/test_agreement.py

# The reference is read from the sources, through links that give each room its name.
docs: .venv/.dev
	mkdir -p build/rooms/kview
	for room in contracts data eval train cli; do \
		ln -sfn ../../../$$room build/rooms/kview/$$room; \
	done
	$(BIN)/mkdocs build

check: .venv/.dev .venv/.typed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/.run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e .
	touch $@

.venv/.dev: .venv/.run
	$(PIP) -e '.[dev]'
	touch $@

# pyright cannot follow an editable install of mapped folders: tests are typed against a plain one.
.venv/.typed: .venv/.dev $(shell find contracts data eval train cli -name "*.py")
	rm -rf .venv/typed build
	$(PIP) --no-deps --upgrade --target .venv/typed .
	rm -rf build
	touch $@

clean:
	rm -rf .venv build runs site *.egg-info
