# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first, once.
# In an environment of your own nothing is installed:  pip install -e .[mpi,test];  make test PYTHON=python
SHELL := /bin/bash
VENV := .venv
ARGS :=

ifeq ($(origin PYTHON),command line)
  # The user's own environment: taken as it is.
  INSTALLED :=
  REFERENCE :=
  DOCS :=
  EXTRAS :=
else
  PYTHON := $(VENV)/bin/python
  INSTALLED := $(VENV)/.installed
  REFERENCE := $(VENV)/.reference
  DOCS := $(VENV)/.docs
  EXTRAS := $(VENV)/.extras
  # mpirun is found here, by the commands and by the tests.
  export PATH := $(abspath $(VENV))/bin:$(PATH)
endif

.DEFAULT_GOAL := help
.PHONY: help install reference demo demo-box reproduce test lint docs wheel clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED)  ## make .venv and install cosmogan with all it needs, MPI included (VENV=dir: elsewhere)

reference: $(REFERENCE)  ## add nbodykit and Pylians, which some tests compare with (10 minutes the first time)

demo: $(INSTALLED)  ## run the whole chain at a small size: configs/demo.yaml
	$(PYTHON) -m cosmogan.run configs/demo.yaml

demo-box: $(INSTALLED)  ## the same for a generator of boxes of any size: configs/demo-box.yaml
	$(PYTHON) -m cosmogan.run configs/demo-box.yaml

reproduce: $(INSTALLED)  ## the paper from nothing: REPRODUCE_SCALE=smoke (default), quarter or full; docs/reproduction.md
	PYTHON=$(PYTHON) scripts/reproduce.sh

test: $(INSTALLED) $(EXTRAS)  ## run the tests, four files at once (ARGS="-m 'not slow'": options for pytest)
	$(PYTHON) -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(INSTALLED)  ## check the style with ruff and the types with mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs: $(DOCS)  ## build the documentation site, build/site/index.html; a warning is an error
	$(PYTHON) -m sphinx --fresh-env --fail-on-warning --quiet -c docs -d build/doctrees . build/site

# auditwheel looks which Linux the library needs, and names the wheel after the oldest.
wheel: $(INSTALLED)  ## build dist/: one wheel for every Python >= 3.10, and the source distribution
	rm -rf dist
	$(PYTHON) -m build --no-isolation
	if [[ $$(uname) == Linux ]]; then $(PYTHON) -m auditwheel repair --wheel-dir dist dist/*.whl; rm dist/*-linux_*; fi

clean:  ## remove build products and caches; runs/ and .venv stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.*' -not -path './runs/*' -prune -exec rm -rf {} +

# The stamps make a second call do nothing.
$(VENV)/.installed: setup.py pyproject.toml scripts/install.sh $(wildcard cosmogan/nbody/*.[ch])
	scripts/install.sh $(VENV)
	@touch $@

$(VENV)/.reference: scripts/install_reference.sh | $(VENV)/.installed
	scripts/install_reference.sh $(VENV)
	@touch $@

$(VENV)/.extras: setup.py | $(VENV)/.installed
	$(VENV)/bin/python -m pip install -qq --editable '.[hf,xarray,inference,workflows]'
	@touch $@

$(VENV)/.docs: setup.py | $(VENV)/.installed
	$(VENV)/bin/python -m pip install -qq --editable '.[docs]'
	@touch $@
