# Every target does its own set-up, from nothing, on a Debian-like machine with Python 3.11 to 3.13;
# what is set up already costs nothing again.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:

CACHE := .cache
VENV := .venv
BIN := $(VENV)/bin
# More arguments for a target's program: make demo ARGS="--for 60 --json", make test ARGS="-k kafka"
ARGS ?=

suitable = $(1) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1
PYTHON := $(shell for one in python3 python3.13 python3.12 python3.11; do \
	if $(call suitable,$$one); then command -v $$one; break; fi; done)

UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo $(CACHE)/uv/bin/uv)
# The environment is built on the machine's own Python, in this folder, whatever else is active.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport VIRTUAL_ENV

READY := $(VENV)/.ready
SERVERS := $(CACHE)/servers.ready

.PHONY: help
help:  ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

.PHONY: demo
demo: $(READY)  ## watch drift being found and acted on in a generated stream of events
	@$(BIN)/observer demo $(ARGS)

.PHONY: test
test: $(READY) $(SERVERS)  ## run all tests, those with a real Kafka and Prometheus too
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-torch
test-torch: $(READY)  ## run the tests of alibi-detect with PyTorch: 2 GB to install
	@$(BIN)/pytest tests/integration/alibi_torch.py $(ARGS)

.PHONY: test-airflow
test-airflow: $(READY)  ## the Airflow target against a real Airflow: 200 megabytes, and minutes
	@$(BIN)/pytest tests/integration/airflow.py $(ARGS)

.PHONY: check
check: lint types imports  ## lint, formatting, types, import directions

.PHONY: lint
lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: types
types: $(READY)
	@$(BIN)/mypy

.PHONY: imports
imports: $(READY)
	@$(BIN)/lint-imports

.PHONY: format
format: $(READY)  ## format the code and repair what ruff can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: bench
bench: $(READY) $(SERVERS)  ## measure speed and memory against the ceilings of this machine
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-statistics
bench-statistics: $(READY)  ## simulate false alarms, delays, power and costs: hours, or ARGS="null delay"
	@$(BIN)/python -m benchmarks.statistics $(ARGS)

.PHONY: docs
docs: $(READY)  ## build the site of the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "site/index.html"

.PHONY: docs-serve
docs-serve: $(READY)  ## show the site, built anew with every change
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

.PHONY: setup
setup: $(READY) $(SERVERS)  ## set everything up and run nothing
	@echo "ready"

.PHONY: clean
clean:  ## remove everything that these targets made
	@rm -rf $(VENV) $(CACHE) dist build site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find dashboards detectors documentation helm observer tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml uv.lock | python $(UV)
	@$(UV) sync --frozen --all-extras --python $(PYTHON)
	@touch $@

.PHONY: python
python:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11, 3.12 or 3.13 is needed and none is on PATH" >&2; exit 1; fi

$(CACHE)/uv/bin/uv: | python
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/apt-install python3-venv
	@$(PYTHON) -m venv $(CACHE)/uv
	@$(CACHE)/uv/bin/pip install --quiet uv

# The servers of the tests: Prometheus and etcd from the distribution, Kafka from Maven (or a broker or Docker
# engine at hand), the Kubernetes API server and Helm from their Go modules.
$(SERVERS): tests/services/kafka.pom.xml tests/services/s3.pom.xml tests/services/kubernetes.py tests/services/helm.py tests/services/compose.py $(READY)
	@mkdir -p $(CACHE)
	@command -v prometheus >/dev/null || .ci/apt-install prometheus
	@command -v chromium >/dev/null || .ci/apt-install chromium
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || .ci/apt-install postgresql
	@command -v prometheus-alertmanager alertmanager >/dev/null || .ci/apt-install prometheus-alertmanager
	@if [ -z "$${OBSERVER_TEST_KAFKA:-}" ]; then \
		{ command -v java && command -v mvn; } >/dev/null || docker info >/dev/null 2>&1 || \
			.ci/apt-install default-jre-headless maven; \
		if command -v mvn >/dev/null; then $(BIN)/python -m tests.services.kafka --fetch >/dev/null; fi; \
	fi
	@{ command -v java && command -v mvn; } >/dev/null || .ci/apt-install default-jre-headless maven
	@$(BIN)/python -m tests.services.s3 --fetch >/dev/null
	@command -v etcd >/dev/null || .ci/apt-install etcd-server
	@command -v openssl >/dev/null || .ci/apt-install openssl
	@$(BIN)/python -m tests.services.kubernetes --fetch >/dev/null
	@$(BIN)/python -m tests.services.helm --fetch >/dev/null
	@$(BIN)/python -m tests.services.compose --fetch >/dev/null
	@touch $@
