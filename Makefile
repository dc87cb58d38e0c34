# Every target sets itself up: Python 3.11+, pip and make are all it needs. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
stamp = $(firstword $(shell cat $(1) pyproject.toml | sha256sum))
RUNTIME := $(VENV)/.runtime-$(call stamp,requirements/runtime.lock)
DEV := $(VENV)/.dev-$(call stamp,requirements/dev.lock)
PEERS := .venv-peers/.peers-$(call stamp,requirements/peers.lock)
# Hundreds of processes of the program are started by the tests: none shall compile it anew.
unexport PYTHONDONTWRITEBYTECODE

# $(call install,ENVIRONMENT,LOCK): hashed lock into a virtual environment, by uv when it is on the machine.
define install
test -x $(1)/bin/python || $(if $(UV),$(UV) venv -q --seed --python $(PYTHON) $(1),$(PYTHON) -m venv $(1))
$(if $(UV),VIRTUAL_ENV=$(1) $(UV) pip install -q --require-hashes -r $(2),$(1)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $(2))
endef
# The package itself needs only hatchling, which the locks hold.
define editable
$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
endef

.PHONY: help demo test interop check format docs bench evaluate soak fuzz lock clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(RUNTIME): requirements/runtime.lock
	$(call install,$(VENV),requirements/runtime.lock)
	$(editable)
	@rm -f $(VENV)/.runtime-*; touch $@

$(DEV): requirements/dev.lock
	$(call install,$(VENV),requirements/dev.lock)
	$(editable)
	@rm -f $(VENV)/.dev-* $(VENV)/.runtime-*; touch $@ $(RUNTIME)

$(PEERS): requirements/peers.lock
	$(call install,.venv-peers,requirements/peers.lock)
	@rm -f .venv-peers/.peers-*; touch $@

demo: $(RUNTIME) ## a virtual fleet, the head-end, a broker and the console, in one command
	@$(BIN)/headend demo

check: $(DEV) ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## let ruff format the tree and fix what it can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

# One more than there are cores: many tests wait for processes of their own.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
test: $(DEV) $(PEERS) servers ## all tests; ARGS="-k name" for some
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

interop: $(DEV) ## let tshark 4.6 or later dissect every service; says why where there is none
	$(BIN)/python -m pytest -q -rs -p no:randomly tests/interop/dissect.py

docs: $(DEV) ## write the reference pages that are made from the code
	UPDATE_DOCS=1 $(BIN)/python -m pytest -q -p no:randomly tests/test_docs.py tests/web/test_openapi.py

bench: DEBIAN := mosquitto:mosquitto nmap:nmap nft:nftables ip:iproute2 postgres:postgresql
bench: $(DEV) $(PEERS) servers ## measure everything the documents claim; results in bench/results
	$(BIN)/python -m bench

CORPUS_ARGUMENTS = $(if $(wildcard $(HEADEND_CORPUS)/association_views),--views $(HEADEND_CORPUS)/association_views \
  --pushes $(HEADEND_CORPUS)/push_signatures.json -o evaluation/results/classification.json)
evaluate: $(DEV) ## measure how well makers and models are told; over the lists of HEADEND_CORPUS where there are some
	$(BIN)/headend model evaluate $(CORPUS_ARGUMENTS)

METERS ?= 10000
soak: $(DEV) servers ## everything goes wrong at full size, for hours; ARGS=kills for one scenario; figures in soak/results
	$(BIN)/python -m soak --meters $(METERS) --keep $(ARGS)

SECONDS ?= 60
fuzz: $(DEV) ## each fuzz harness for SECONDS (60), from its seeds; findings in fuzz/found
	@for harness in fuzz/fuzz_*.py; do family=$${harness#fuzz/fuzz_}; family=$${family%.py}; echo "== $$family"; \
	  $(BIN)/python $$harness -max_total_time=$(SECONDS) fuzz/corpus/$$family || exit 1; done

# Real servers and the browser that tests talk to, from Debian, where this user may install them. Without them those
# tests are skipped, and say so.
DEBIAN := mosquitto:mosquitto chromium:chromium chromedriver:chromium-driver promtool:prometheus postgres:postgresql
# Tests start a PostgreSQL server of their own from the package's programs: it shall not make one of the system's, too.
CLUSTERS := /etc/postgresql-common/createcluster.d
.PHONY: servers
servers:
	@missing=; for pair in $(DEBIAN); do \
	  command -v $${pair%%:*} >/dev/null 2>&1 || test -x /usr/sbin/$${pair%%:*} \
	    || ls /usr/lib/postgresql/*/bin/$${pair%%:*} >/dev/null 2>&1 || missing="$$missing $${pair#*:}"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing$$missing"; \
	  case "$$missing" in *postgresql*) mkdir -p $(CLUSTERS) && echo "create_main_cluster = false" >$(CLUSTERS)/none.conf;; esac; \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; } \
	    >/dev/null 2>&1 || echo "could not install$$missing; the tests that need them will be skipped"; fi

LOCK_OPTIONS := -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links
lock: $(DEV) ## make the hashed locks anew from pyproject.toml
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --group build $(LOCK_OPTIONS) -o requirements/runtime.lock
	$(BIN)/uv pip compile pyproject.toml --group dev $(LOCK_OPTIONS) -c requirements/runtime.lock -o requirements/dev.lock
	$(BIN)/uv pip compile --group peers $(LOCK_OPTIONS) -o requirements/peers.lock

clean: ## remove the environments and what tools left behind
	rm -rf .venv .venv-peers dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
