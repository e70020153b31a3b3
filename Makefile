# make install | demo | test | lint | docs | bench | reboots | failsafe | chaos | sample
# Everything works on a fresh Debian 12 with make, git and python3, as root.

SHELL := /bin/sh
# the first that is new enough; asked for only when the virtual environment is made
NEW_ENOUGH = 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON = $(shell for name in python3 python3.11 python3.12 python3.13; do \
	$$name -c $(NEW_ENOUGH) 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install packages demo test lint docs bench reboots failsafe chaos sample clean
.DEFAULT_GOAL := install

install: packages $(STAMP)

packages:
	@.ci/install-packages

$(STAMP): requirements.txt test-requirements.txt setup.cfg setup.py pyproject.toml | packages
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "cannot find a Python of 3.11 or newer" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -r test-requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# the story in two minutes, measured; fails unless every step held
demo: install
	$(BIN)/haqn-lab demo

# everything; a test that is skipped is a failure (tests/conftest.py)
test: lint
	tests/run $(BIN)/pytest

lint: install docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	shellcheck .ci/* devstack/* bench/run tests/functional/install/*.sh
	shellcheck --severity=error tests/run

# a warning is an error; the result is in doc/_build
docs: install
	$(BIN)/sphinx-build -W --keep-going -q -b html doc doc/_build

bench: install
	bench/run

# a host comes back 20 times, in any order and at any moment
reboots: install
	$(BIN)/python -m bench.reboots

# no etcd, no SQL, no control plane at all, while traffic flows and hosts crash: make failsafe OUTAGE=120
OUTAGE = 600
failsafe: install
	$(BIN)/python -m bench.failsafe --seconds $(OUTAGE)

# random faults while traffic flows: make chaos SEED=1 FAULTS=500 SECONDS=3600; the log is build/chaos-SEED.log
SEED = $(shell date +%s)
FAULTS = 50
SECONDS = 36000
chaos: install
	$(BIN)/haqn-lab chaos --seed $(SEED) --faults $(FAULTS) --seconds $(SECONDS)

# after a change of haqn/conf.py, or of a rule of the policy
sample: install
	$(BIN)/oslo-config-generator --config-file etc/oslo-config-generator/haqn.conf
	$(BIN)/oslopolicy-sample-generator --config-file etc/oslo-policy-generator/haqn.conf

clean:
	rm -rf $(VENV) doc/_build doc/reference build dist *.egg-info .eggs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
