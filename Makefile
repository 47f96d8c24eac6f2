# `make help` lists the targets. Everything is installed into .venv; nothing needs root.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help setup demo test test-slow flink-test lint format lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## install everything, exact versions, into .venv

$(VENV)/.installed: requirements.lock setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v in ((3, 11), (3, 12)) or sys.exit("SoundNet needs Python 3.11 or 3.12; this is %d.%d. Say which with: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --use-pep517 --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## real videos -> records -> a trained network -> a report, in demo/ (VIDEOS=folder or list)
	$(BIN)/python -m reproduce --folder "demo/$(basename $(notdir $(VIDEOS:/=)))" \
	  $(if $(VIDEOS),--videos "$(VIDEOS)")

test: setup ## the fast tests (under 5 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: setup ## the slow tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m slow

flink-test: setup ## the pipeline on a Flink cluster on this machine, a task manager killed (needs Java, Maven)
	$(BIN)/python -m pytest -v -rs -m slow tests/pipeline/test_flink.py

lint: setup ## formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: setup ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## solve the versions anew (needs uv)
	uv pip compile --universal --generate-hashes --no-annotate --no-header \
	  --extra dev setup.py -o requirements.lock

clean: ## remove what was installed and made
	rm -rf $(VENV) demo build dist *.egg-info
