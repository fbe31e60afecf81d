# One command each: run, test, check, bench, drive, soak, quality, chaos, image-test. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

# uv where it is there (seconds), pip otherwise (a minute); both install exactly the locked versions.
ifdef UV
install = VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet
else
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

# dclint is a package of npm; where npm is not there, that is said, or is an error.
ifneq ($(shell command -v npx 2>/dev/null),)
DCLINT = npx --yes --loglevel=error dclint@3.1.0 --max-warnings 0 docker-compose.yml
else ifeq ($(RCF_REQUIRE_ALL),1)
DCLINT = echo "docker-compose.yml must be checked by dclint: install npm"; exit 1
else
DCLINT = echo "NOT CHECKED: docker-compose.yml by dclint: install npm"
endif

.DEFAULT_GOAL := help
.PHONY: help run test check check-deploy format bench drive soak figures quality chaos image-test
.PHONY: lock clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/bin/python:
	@echo "making the environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: .lock/runtime.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked dependencies (once; about a minute) …"
	@$(install) --require-hashes -r .lock/build.txt
	@$(install) --require-hashes -r .lock/runtime.txt
	@$(install) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: .lock/dev.txt $(VENV)/.runtime
	@echo "installing the locked development dependencies (once; about a minute) …"
	@$(install) --require-hashes -r .lock/dev.txt
	@touch $@

run: $(VENV)/.runtime ## start `rcf dev`: one process, port 8080, no Docker, no Kafka (ARGS="--port 9000")
	@$(BIN)/rcf dev $(ARGS)

test: $(VENV)/.dev ## run every test, in two processes (ARGS="tests/rcf -k reservoir")
	@$(BIN)/python -m pytest --numprocesses 2 $(ARGS)

check: $(VENV)/.dev check-deploy ## format, lint, types, import arrows; image, compose file, manifests
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest --quiet tests/test_architecture.py

# KEDA's kinds are in no schema that kubernetes-validate has; tests/deploy looks at keda.yaml.
check-deploy: $(VENV)/.dev
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/compose-lint check docker-compose.yml >$(VENV)/compose-lint.txt || { cat $(VENV)/compose-lint.txt; exit 1; }
	@$(BIN)/kubernetes-validate --strict --quiet service/deploy/kubernetes/rcf.yaml
	@$(DCLINT)

format: $(VENV)/.dev ## format the code and mend what the linter can
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

bench: $(VENV)/.dev ## speed and memory beside other forests, the pipeline, HTTP; about 20 minutes (ARGS=kernels)
	@$(BIN)/python -m load $(ARGS)

quality: $(VENV)/.dev ## decisions and scores on labelled streams, beside what is asked; RCF_DATA is their folder
	@$(BIN)/python -m load quality

drive: $(VENV)/.dev ## open-loop traffic over HTTP and Kafka: the knee, latencies at 70 % of it (ARGS="kafka --plot drive.html")
	@$(BIN)/python -m load drive $(ARGS)

soak: $(VENV)/.dev ## half an hour at 70 % of the knee, embedded and on Kafka: does anything grow? (ARGS="--seconds 60")
	@$(BIN)/python -m load soak $(ARGS)

figures: $(VENV)/.dev ## measure again what the README says of a service under load, and what `rcf size` answers from; two hours
	@$(BIN)/python -m load sizes --write
	@$(BIN)/python -m load drive --readme
	@$(BIN)/python -m load soak --readme

chaos: $(VENV)/.dev ## every harm for longer, with more seeds (ARGS=disk-full: one of them; ARGS=kafka: on a real broker)
	@$(BIN)/python -m tests.simulation $(ARGS)

image-test: $(VENV)/.dev ## build the image without Docker, start it read-only, print figures (root, Debian; minutes)
	@$(BIN)/python -m tests.deploy

lock: ## resolve the versions anew (needs uv)
	@uv pip compile --universal --quiet --no-header --no-emit-index-url --generate-hashes --python-version 3.11 pyproject.toml -o .lock/runtime.txt
	@uv pip compile --universal --quiet --no-header --no-emit-index-url --generate-hashes --python-version 3.11 --group dev --constraint .lock/runtime.txt -o .lock/dev.txt pyproject.toml
	@printf 'editables==0.6\nhatchling==1.33.0\n' | uv pip compile --universal --quiet --no-header --no-emit-index-url --generate-hashes --python-version 3.11 -o .lock/build.txt -

clean: ## remove the environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache
