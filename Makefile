# Two commands: `make demo` and `make test`. Both make .venv first and are quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
JOBS ?= 2
# Commands of ours start sooner where Python may keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long lint docs peers bench constraints clean

$(VENV)/.base: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.base $@

demo: $(VENV)/.base  ## set up, then run the main job on the simulated microscope
	$(BIN)/parfocal demo --data demo-data

lint: $(VENV)/.dev  ## style, types, and the arrows of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --threads $(JOBS)
	$(BIN)/lint-imports

# Not all at once: a lock in real time does not hold beside a check of types.
test: $(VENV)/.dev  ## set up, then everything that must hold before a change lands
	$(MAKE) --no-print-directory --jobs $(JOBS) --output-sync=target lint docs
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not long"

test-long: $(VENV)/.dev  ## what takes minutes
	$(BIN)/python -m pytest -m long

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

peers: .venv-peers/.made  ## the peers that `parfocal bench` measures beside us, in their own environment

.venv-peers/.made: src/parfocal/bench/peers.txt
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r src/parfocal/bench/peers.txt
	@touch $@

constraints:  ## resolve all extras in one fresh environment and pin what came out
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet torch==2.13.0 'numpy==2.0.2' -e '.[all,dev]'
	{ head -2 constraints.txt; .venv-constraints/bin/python -m pip freeze --exclude-editable \
	  | sed 's/^torch==.*/torch==2.13.0/' | grep -v ' @ '; } > constraints.txt.new
	mv constraints.txt.new constraints.txt
	rm -rf .venv-constraints

bench: peers $(VENV)/.dev  ## measure everything beside the peers
	@for name in $$($(BIN)/parfocal bench --list | cut -d' ' -f1); do $(BIN)/parfocal bench $$name; done

clean:
	rm -rf $(VENV) .venv-peers demo-data site build dist
