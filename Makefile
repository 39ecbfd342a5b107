# From a fresh clone: `make run` or `make test`, in either order. Needs git and Python 3.11 or newer.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

UV_VERSION := 0.13.8
INSTALLED := .venv/.installed
DATABASE := sqlite:///$(CURDIR)/.salt/mlflow.db
PORT := 5000

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test test-slow check ui lock

help:  ## show these commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: $(INSTALLED)  ## run the pipeline of params.yaml; finished stages are skipped
	@echo "== Running the pipeline (dvc repro). Stopped at any point, it continues on the next call."
	dvc repro
	@echo
	@echo "== Done. Where to look:"
	@echo "   data/report/index.html         the report, with pictures: open it in a browser"
	@echo "   data/report/metrics.json       its numbers (dvc metrics show)"
	@echo "   data/submit/submission.csv     the submission, validated"
	@echo "   make ui                        every run's parameters and curves in MLflow"

test: $(INSTALLED)  ## run the fast tests, with coverage
	@echo "== Running the fast tests"
	python -m pytest -m "not slow" -n auto --dist loadfile --cov=salt --cov=stages --cov-report=term:skip-covered
	@echo "== Done. The slow tests: make test-slow. The pipeline: make run"

test-slow: $(INSTALLED)  ## run the tests that take minutes
	@echo "== Running the slow tests"
	python -m pytest -m slow

check: $(INSTALLED)  ## lint, format and types, without changing anything
	ruff check .
	ruff format --check .
	mypy

ui: $(INSTALLED)  ## browse tracked runs in MLflow, http://127.0.0.1:5000
	@test -e .salt/mlflow.db || { echo "No tracked run yet: make run first." >&2; exit 1; }
	@echo "== MLflow on http://127.0.0.1:$(PORT) (stop with Ctrl-C)"
	mlflow ui --backend-store-uri $(DATABASE) --port $(PORT)

lock: $(INSTALLED)  ## pin requirements.in anew
	echo "# regenerate with: make lock" > requirements.lock.part
	uv pip compile requirements.in --system-certs --universal --python-version 3.11 --upgrade \
		--no-annotate --no-header --quiet >> requirements.lock.part
	mv requirements.lock.part requirements.lock

# The stamp is younger than the lock exactly when all of the lock is installed.
$(INSTALLED): requirements.lock
	@python=""; \
	for name in python3 python3.13 python3.12 python3.11; do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			python=$$name; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "error: found no Python 3.11 or newer (python3 is $$(python3 --version 2>&1));" \
			"install one, e.g. 'apt-get install python3 python3-venv', and run make again." >&2; \
		exit 1; \
	fi; \
	if [ ! -x .venv/bin/python ]; then \
		echo "== Creating .venv with $$($$python --version)"; \
		rm -rf .venv; \
		$$python -m venv .venv || { echo "error: no virtual environment could be made; on Debian:" \
			"apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }; \
	fi
	@echo "== Installing requirements.lock into .venv (once; a few minutes and 6 GB at most)"
	@python -m pip install --quiet uv==$(UV_VERSION) && \
		uv pip install --system-certs --python .venv/bin/python --requirement requirements.lock || { \
		echo "== That did not work with uv; installing with pip, which takes longer"; \
		python -m pip install --requirement requirements.lock; }
	@touch $@
	@echo "== Installed"
