# Everything runs in the project's own environment, .venv, which the first call makes.
PYTHON ?= python3
RUN := .venv/bin
INSTALL = $(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Files in the order of their names: those of tests/faults take longest, and come first.
PYTEST = $(RUN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow test-all test-faults check format docs

demo: .venv/.package  ## search for a small network for handwritten digits, fine-tune the winner, test it
	rm -rf searches/demo
	$(RUN)/kilnet tune digits --recipe digits --space small --epochs 15 \
	  --finalists 2 --seeds 2 --finetune --out searches/demo

test: .venv/.tools  ## all tests but the slow ones
	$(PYTEST)

test-slow: .venv/.tools  ## the tests that take minutes
	$(PYTEST) -m slow

test-all: .venv/.tools  ## both
	$(PYTEST) -m 'slow or not slow'

test-faults: .venv/.tools  ## the whole campaign of faults, most of an hour; writes docs/faults.md
	rm -rf build/faults
	$(RUN)/pytest tests/faults -m slow --faults full --numprocesses 2 --dist load --maxschedchunk 1; \
	  status=$$?; $(RUN)/python docs/make_faults.py && exit $$status

check: .venv/.tools  ## format, lint, types
	$(RUN)/ruff format --check
	$(RUN)/ruff check
	$(RUN)/mypy

format: .venv/.tools
	$(RUN)/ruff format
	$(RUN)/ruff check --fix

docs: .venv/.tools  ## write the pages that are made from code, build the site into site/
	for page in architecture chart cli recipes settings tutorial; do $(RUN)/python docs/make_$$page.py || exit; done
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict

.venv/.package: pyproject.toml constraints.txt  # what a user has
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Kilnet needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	touch $@

.venv/.tools: .venv/.package  # what a developer needs too
	$(INSTALL) --editable '.[dev]'
	touch $@
