# Everything happens in .venv, which the first target that needs it makes; nothing else on the machine is touched.
# Needs Python 3.10 or newer and make. `make PYTHON=/path/to/python3 demo` chooses an interpreter.

PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && echo $$each && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --no-input install --quiet -c constraints.txt
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)
# One thread in each of a few processes: the tensors of most tests are too small to be worth sharing.
WORKERS ?= auto
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo report test check parity fuzz format clean distclean docs docs-images wheel lowest

help:
	@echo "make demo       segment a real photo with the built-in model; says where the picture is"
	@echo "make test       the whole test suite, as CI runs it"
	@echo "make report     score the built-in model on held-out data, into the folder report"
	@echo "make check      format, lint, types, import rules and the fast tests, before each commit"
	@echo "make parity     the comparison with transformers alone"
	@echo "make fuzz       damaged files of every kind, 5,000 of them in ten minutes"
	@echo "make format     put the code into the format that check asks for"
	@echo "make docs       the documentation as a site, into build/site; a broken link is an error"
	@echo "make docs-images  the pictures and the caption of README, made anew; CLIP=FOLDER is the clip of bottles"
	@echo "make wheel      what is published, built and tried in an empty folder"
	@echo "make lowest     the demo and the tests of the command line on the lowest versions allowed"
	@echo "make clean      remove caches and builds; distclean removes $(VENV) too"

# torch comes first and by itself: what is installed after it must not choose another one.
$(STAMP)-run:
	@test -n "$(PYTHON)" || { echo "masklet needs Python 3.10 or newer; none was found" >&2; exit 1; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing masklet into $(VENV); the first time this takes a few minutes"
	@rm -f $(VENV)/.installed-*
	@$(PIP) torch
	@$(PIP) -e .
	@touch $@

# torchvision is here for transformers' SAM 3 in the parity tests alone. Its own dependencies would replace torch. The
# packages of Label Studio and CVAT read what the server answers in their protocols; theirs would add a hundred more.
$(STAMP)-dev: $(STAMP)-run
	@echo "installing the tools of development"
	@$(PIP) -e ".[dev]"
	@$(PIP) --no-deps torchvision label-studio-sdk cvat-sdk
	@touch $@

install: $(STAMP)-run
install-dev: $(STAMP)-dev

demo: install
	@$(VENV)/bin/masklet demo

# DATA=DIR also scores on the held-out cut-outs and photos under DIR, and renews docs/model_card.md.
report: install-dev
	$(RUN) runs/report.py $(if $(DATA),--data $(DATA))

# The hook that checks shapes while tests run stands in the way of torch.compile, so those tests run without it.
test: install-dev
	$(PYTEST) -m "not compile"
	@if grep -rqs "mark\.compile" tests; then $(RUN) -m pytest -m compile -o addopts= || test $$? -eq 5; fi

check: install-dev
	$(RUN) -m ruff format --check --quiet .
	$(RUN) -m ruff check --quiet .
	$(RUN) -m pyright
	$(VENV)/bin/lint-imports
	$(RUN) tests/support/house.py
	$(PYTEST) -q -m "not slow and not parity and not compile"

parity: install-dev
	$(PYTEST) -m parity

# SEED=1 tries others. An input that fails is read again by `python tests/support/fuzz.py --only NUMBER --seed SEED`.
fuzz: install-dev
	OMP_NUM_THREADS=1 $(RUN) tests/support/fuzz.py --seed $(or $(SEED),0)

docs: install-dev
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build

docs-images: install-dev
	$(RUN) docs/make_images.py $(if $(CLIP),--clip $(CLIP))

wheel: install-dev
	$(RUN) -m build
	$(RUN) -m pytest -q tests/test_wheel.py

# In an environment of its own, with the lowest release of each dependency that pyproject.toml allows.
lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip --disable-pip-version-check install --quiet uv
	$(VENV)-lowest/bin/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct -e ".[lowest]"
	$(VENV)-lowest/bin/masklet demo --out build/lowest
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest -q tests/test_builtin.py tests/cli/test_cli.py

format: install-dev
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(VENV)-lowest
