# make demo           everything, from an empty checkout to a running product with a phone to play on
# make test           set up and run all tests
PYTHON ?= $(or $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done),python3)
PORT ?= 8000
WORKERS ?= 7
BIN := .venv/bin

export ZHIBAN_DATA

.PHONY: setup setup-run demo test coverage lint types contracts check bench screenshots pictures wheel clean help

help:
	@echo "make setup | demo [PORT=8000] [ZHIBAN_DATA=folder] | test | coverage | lint | types | contracts | check |"
	@echo "     bench | screenshots | pictures | wheel | clean"

setup:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and none was found." >&2; exit 1; }
	@$(PYTHON) tools/setup.py dev

setup-run:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and none was found." >&2; exit 1; }
	@$(PYTHON) tools/setup.py run

demo: setup-run
	@$(BIN)/zhiban demo --port $(PORT)

test: setup
	@$(BIN)/python tools/test.py -n $(WORKERS) $(ARGS)

coverage: setup
	@$(BIN)/python tools/test.py -n $(WORKERS) --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python tools/checks.py
	$(BIN)/python tools/texts.py check
	$(BIN)/python tools/reference.py check

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

check: lint types contracts test

bench: setup
	$(BIN)/python bench/hot_path.py
	$(BIN)/python bench/desk_lists.py
	$(BIN)/python bench/search_messages.py
	$(BIN)/python bench/assignment.py
	$(BIN)/python bench/reports.py
	$(BIN)/python bench/desk_load.py
	$(BIN)/python bench/importing.py
	$(BIN)/python bench/conversations.py
	$(BIN)/python bench/retrieval.py
	$(BIN)/python bench/month.py
	$(BIN)/python bench/gateway_flood.py

screenshots: setup
	$(BIN)/python tools/screenshots.py

pictures: setup
	$(BIN)/python tools/doc_pictures.py

wheel: setup
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache htmlcov .coverage*
	rm -rf frontend/node_modules src/zhiban/web/static/vendor
