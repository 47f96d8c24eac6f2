# `make help` lists the targets. Everything is installed into .venv; nothing needs root.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
IMAGE ?= soundnet
VARIANT ?= cpu
BUILDER ?= docker
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help setup demo test test-slow test-newest flink-test image image-test lint format hooks lock \
  clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## install everything, exact versions, into .venv

$(VENV)/.installed: requirements.lock setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v in ((3, 11), (3, 12)) or sys.exit("SoundNet needs Python 3.11 or 3.12; this is %d.%d. Say which with: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --use-pep517 --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)-newest/.installed: .ci/newest.lock setup.py
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --use-pep517 --require-hashes -r .ci/newest.lock
	$(VENV)-newest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## real videos -> records -> a trained network -> a report, in demo/ (VIDEOS=folder or list)
	$(BIN)/python -m reproduce --folder "demo/$(basename $(notdir $(VIDEOS:/=)))" \
	  $(if $(VIDEOS),--videos "$(VIDEOS)")

test: setup ## the fast tests (under 5 minutes on 2 cores); COVERAGE=1 tells which lines they ran
	$(BIN)/python -m pytest -n 2 -m "not slow" $(if $(COVERAGE),--cov --cov-report=term)

test-slow: setup ## the slow tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m slow --durations=15

test-newest: $(VENV)-newest/.installed ## network and trainer with the newest TensorFlow, in .venv-newest
	$(VENV)-newest/bin/python -m pytest -n 2 -m "not slow" tests/schemas tests/soundnet tests/trainer

flink-test: setup ## the pipeline on a Flink cluster on this machine, a task manager killed (needs Java, Maven)
	$(BIN)/python -m pytest -v -rs -m slow tests/pipeline/test_flink.py

image: ## the container image, see docs/image.md (VARIANT=gpu)
	$(BUILDER) build $(BUILD_FLAGS) --build-arg VARIANT=$(VARIANT) \
	  --build-arg REVISION=$$(git rev-parse HEAD) -t $(IMAGE) .

image-test: ## run inside the image what docs/image.md says
	image/check "$(BUILDER)" "$(IMAGE)" $(RUN_FLAGS)

lint: setup ## formatting, lint and types
	@! git grep -nE '^(<{7}|>{7}) ' || { echo "a merge was left half done"; exit 1; }
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

hooks: setup ## have git check formatting, lint and types before each commit
	$(BIN)/pre-commit install

# The images have the versions of requirements.lock, less what nothing of ours imports: Clang (only
# building TensorFlow needs it) and Google's machine learning services. Without GPUs another build of
# TensorFlow does, of less than half the size.
UV = uv pip compile --no-annotate --no-header
FOR_IMAGE = $(UV) --python-version 3.11 --python-platform x86_64-manylinux_2_28
UNUSED = libclang|google-cloud-aiplatform|google-genai

lock: ## solve the versions anew (needs uv)
	$(UV) --universal --generate-hashes --extra dev setup.py -o requirements.lock
	$(FOR_IMAGE) -c requirements.lock --extra all setup.py | grep -vE '^($(UNUSED))==' \
	  | sed 's/^tensorflow==/tensorflow-cpu==/' \
	  | $(FOR_IMAGE) --no-deps --generate-hashes - -o requirements-cpu.lock
	$(FOR_IMAGE) -c requirements.lock --extra all --extra gpu setup.py | grep -vE '^($(UNUSED))==' \
	  | $(FOR_IMAGE) --no-deps --generate-hashes - -o requirements-gpu.lock
	$(UV) --universal --generate-hashes --override .ci/newest-overrides.txt --extra train \
	  --extra pipeline --extra evaluation --extra export setup.py .ci/newest.in -o .ci/newest.lock

clean: ## remove what was installed and made
	rm -rf $(VENV) $(VENV)-newest demo build dist *.egg-info
