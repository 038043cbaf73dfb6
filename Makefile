.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
WORKERS ?= 4
EVENTS ?= 10000
KILLS ?= 24
SEED ?= 1

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header pyproject.toml

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/runtime.stamp ## See a simulated Stripe account arrive in Postgres (ARGS="--check" to judge it)
	@$(BIN)/tillstream demo $(ARGS)

.PHONY: run
run: .venv/runtime.stamp ## Run everything on this machine for a real Stripe account
	@$(BIN)/tillstream run $(ARGS)

.PHONY: test
test: lint types .venv/browser.stamp .venv/pooler.stamp ## Run everything: lint, types and all tests (ARGS="-k word" to choose)
	@$(BIN)/python -m pytest -m "not long" -n $(WORKERS) --dist loadgroup $(ARGS)

.PHONY: test-long
test-long: .venv/browser.stamp .venv/pooler.stamp ## Run what takes minutes: before a release, and after changes to how parts fail and return
	@$(BIN)/python -m pytest -m long $(ARGS)

.PHONY: test-unit
test-unit: .venv/dev.stamp ## Run the fast tests alone
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: chaos
chaos: .venv/dev.stamp ## Kill everything again and again while changes go on, then compare every row (EVENTS, KILLS, SEED)
	@$(BIN)/python -m tests.chaos --events $(EVENTS) --kills $(KILLS) --seed $(SEED) $(ARGS)

.PHONY: fmt
fmt: .venv/dev.stamp ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

.PHONY: lint
lint: .venv/dev.stamp ## Check the style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: .venv/dev.stamp ## Check the types
	@$(BIN)/mypy

.PHONY: lock
lock: .venv/dev.stamp ## Write the lock files anew: Python's packages and Kafka's jars
	@PATH="$(CURDIR)/$(BIN):$$PATH"; command -v uv >/dev/null || pip install --quiet uv; \
	$(COMPILE) --extra local --output-file requirements.lock && \
	$(COMPILE) --extra local --extra dev --output-file requirements-dev.lock
	@$(BIN)/python -m local_stack.lock

.PHONY: screenshots
screenshots: .venv/browser.stamp ## Take the pictures of the pages anew
	@$(BIN)/python scripts/screenshots

.PHONY: clean
clean: ## Remove the environment and all caches of this folder (the data in .tillstream stays)
	@rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/runtime.stamp: requirements.lock scripts/bootstrap
	@PYTHON="$(PYTHON)" scripts/bootstrap requirements.lock
	@touch $@

# The development packages contain the others, in the same versions.
.venv/dev.stamp: requirements-dev.lock scripts/bootstrap
	@PYTHON="$(PYTHON)" scripts/bootstrap requirements-dev.lock
	@touch .venv/runtime.stamp $@

.venv/browser.stamp: .venv/dev.stamp scripts/browser
	@scripts/browser
	@touch $@

.venv/pooler.stamp: .venv/dev.stamp scripts/pooler
	@scripts/pooler
	@touch $@
