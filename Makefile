# `make demo` shows the controller at work, `make test` runs the tests. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base-installed
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed

.PHONY: demo test servers check format bench docs clean

# What a user installs: the demonstration takes no more.
$(BASE): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(STAMP): $(BASE)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

demo: $(BASE)
	$(BIN)/quantum-control demo $(ARGS)

# Three processes on two cores, since most of the time is waiting for servers; one file of tests stays in one of them.
# Where nothing may be missing, as in continuous integration, the servers are installed first.
test: $(if $(QC_REQUIRE_ALL),servers) check
	$(BIN)/pytest --numprocesses 3 --dist loadgroup --durations 15 -rR $(ARGS)

servers:
	scripts/install-servers

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python benchmarks/step_cost.py
	$(BIN)/python benchmarks/pool_overhead.py
	$(BIN)/python benchmarks/knee.py
	$(BIN)/python benchmarks/daemon_cost.py
	$(BIN)/python benchmarks/false_alarms.py
	$(BIN)/python benchmarks/scrape.py
	$(BIN)/python benchmarks/exporter_cost.py
	$(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/fleet_step.py
	$(BIN)/python benchmarks/fleet_hosts.py
	$(BIN)/python benchmarks/jmx_idle.py
	$(BIN)/quantum-control bench laws

docs: $(DOCS_STAMP)
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis docs/_build
