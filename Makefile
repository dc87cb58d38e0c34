# Every target sets itself up: Python 3.11+, pip and make are all it needs. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
stamp = $(firstword $(shell cat $(1) pyproject.toml | sha256sum))
RUNTIME := $(VENV)/.runtime-$(call stamp,requirements/runtime.lock)
DEV := $(VENV)/.dev-$(call stamp,requirements/dev.lock)
PEERS := .venv-peers/.peers-$(call stamp,requirements/peers.lock)

# $(call install,ENVIRONMENT,LOCK): hashed lock into a virtual environment, by uv when it is on the machine.
define install
test -x $(1)/bin/python || $(if $(UV),$(UV) venv -q --seed --python $(PYTHON) $(1),$(PYTHON) -m venv $(1))
$(if $(UV),VIRTUAL_ENV=$(1) $(UV) pip install -q --require-hashes -r $(2),$(1)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $(2))
endef
# The package itself needs only hatchling, which the locks hold.
define editable
$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
endef

.PHONY: help demo test check format bench lock clean
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
