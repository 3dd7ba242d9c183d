# Every target makes what it needs: a fresh machine needs Python 3.11 or newer, and Go for `make e2e`.
# One virtual environment, two stamps: the demo installs the run-time lock only.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: demo test lint e2e bench bench-streams lock controlplane virtual-kubelet-suite metrics-server clean

demo: $(VENV)/.runtime
	$(BIN)/kraftlet-trio demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The real control plane: minutes from a cold cache, nothing at all from a warm one.
controlplane:
	tests/e2e/controlplane/build

# virtual-kubelet's own end-to-end tests: likewise.
virtual-kubelet-suite:
	tests/e2e/virtual_kubelet/build

# What `kubectl top` asks: likewise.
metrics-server:
	tests/e2e/metrics_server/build

e2e: $(VENV)/.dev controlplane virtual-kubelet-suite metrics-server
	$(BIN)/pytest tests/e2e $(ARGS)

# How many Pods: make bench ARGS=1000
bench: $(VENV)/.dev controlplane
	$(BIN)/python -m tests.benchmarks.pods $(ARGS)

# Beside followed logs and commands: make bench-streams ARGS="--logs 200 --commands 50"
bench-streams: $(VENV)/.dev controlplane
	$(BIN)/python -m tests.benchmarks.streams $(ARGS)

# Resolves anew within the bounds of pyproject.toml; the later locks follow the earlier ones.
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --generate-hashes \
	--strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock: $(VENV)/.dev
	$(COMPILE) --output-file=requirements.lock pyproject.toml
	$(COMPILE) --extra=dev --constraint=requirements.lock --output-file=requirements-dev.lock pyproject.toml
	$(COMPILE) --only-build-deps --build-deps-for=editable --constraint=requirements-dev.lock \
		--output-file=requirements-build.lock pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit("$(PYTHON) is older than 3.11; name another: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/pip
	$(PIP) install --require-hashes -r requirements.lock -r requirements-build.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
