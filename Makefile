# Sets up, tests and shows lvs-healthd from a bare checkout on Debian 12 or 13. `make help` lists what there is.
#
# Everything is set up on first use and only once: packages from Debian (lab/packages.txt), the virtual environment
# in .venv from the locked requirements, and, where this machine has no IPVS, a kernel for the lab (docs/lab.md).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup packages servers servers-long browser kernel test test-all test-quick lint demo demo-shell bench bench-packages soak fuzz simulate reference wheel deb lock

# Byte code is kept even where the environment forbids it: an emulated guest takes ten times as long to compile.
unexport PYTHONDONTWRITEBYTECODE
# Debian keeps system tools out of a user's path.
export PATH := $(PATH):/usr/sbin:/sbin

# KERNEL=trixie or KERNEL=sid: the tests and the demo run under that Debian suite's kernel, in a guest (docs/lab.md).
ifneq ($(KERNEL),)
export LVS_HEALTHD_LAB_KERNEL := $(KERNEL)
endif

bin := .venv/bin
# By content, because a checkout changes the times of files that it leaves alone.
locked := .venv/.installed-$(shell cat requirements/dev.txt pyproject.toml | sha256sum | cut -c 1-16)

plotting := .venv/.bench-$(shell cat requirements/bench.txt | sha256sum | cut -c 1-16)
fuzzing := .venv/.fuzz-$(shell cat requirements/fuzz.txt | sha256sum | cut -c 1-16)

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# Two at a time, after the packages that both need.
setup: packages ## Install everything that tests and demo need, once
	@$(MAKE) --no-print-directory --silent --jobs=2 servers $(locked) kernel

packages:
	@lab/install-packages

servers: packages
	@lab/unpack-servers

servers-long: packages
	@lab/unpack-servers lab/servers-long.txt .cache/servers-long

$(locked): | packages
	@echo "making .venv from requirements/dev.txt" >&2
	@/usr/bin/python3 -m venv .venv
	@$(bin)/pip --quiet --disable-pip-version-check install --require-hashes -r requirements/dev.txt
	@$(bin)/pip --quiet --disable-pip-version-check install --no-build-isolation --no-deps -e .
	@rm -f .venv/.installed-*
	@touch $@

# After the servers, because only one apt at a time may update the lists of packages.
kernel: servers $(locked)
	@$(bin)/python -m lab setup

lint: packages $(locked) ## Check style and types
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy

test: packages ## Check style and types, then run the tests, those on the real kernel too; KERNEL=sid for another kernel
	@$(MAKE) --no-print-directory --silent --jobs=2 servers $(locked) kernel lint
	@lab/run-tests -m "not long"

browser: packages
	@lab/install-packages lab/browser.txt

test-all: setup servers-long browser lint ## The same, with the tests that take long
	@lab/run-tests --hypothesis-profile thorough

test-quick: packages servers $(locked) lint ## The same as `make test`, without those on the real kernel
	@lab/run-tests -m "not kernel and not boots and not long"

demo: setup ## Watch it work: servers die, hang and return, the daemon is killed, the table is vandalised; PAGE=1
	@$(bin)/python -m lab demo $(PAGE)

demo-shell: setup ## A prompt in the lab, with clients, servers and the daemon running; PAGE=1
	@$(bin)/python -m lab shell $(PAGE)

bench: setup bench-packages browser $(plotting) ## Measure against HAProxy, keepalived and bare loops; QUICK=1 for an impression
	@$(bin)/python -m bench $(if $(QUICK),--quick --into .cache/bench)

soak: setup bench-packages ## Watch it for 30 minutes, or MINUTES=n, while servers flap, reloads come, and others edit the table; KEEP=1
	@$(bin)/python -m bench.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(KEEP),--keep)

fuzz: setup $(fuzzing) ## Search for answers that break probes, 10 MB for each protocol; BYTES=n, SECONDS=n, JOBS=n, ONLY=name
	@$(bin)/python -m tests.fuzz $(if $(BYTES),--bytes $(BYTES)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(JOBS),--jobs $(JOBS)) $(addprefix --only ,$(ONLY))

simulate: packages $(locked) ## Let a million things by chance happen to the daemon in a simulated world; STEPS=n, SEED=n, JOBS=n
	@$(bin)/python -m tests.simulation $(if $(STEPS),--steps $(STEPS)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

bench-packages:
	@lab/install-packages bench/packages.txt

$(plotting): | $(locked)
	@echo "adding requirements/bench.txt to .venv" >&2
	@$(bin)/pip --quiet --disable-pip-version-check install --require-hashes -r requirements/bench.txt
	@rm -f .venv/.bench-*
	@touch $@

$(fuzzing): | $(locked)
	@echo "adding requirements/fuzz.txt to .venv" >&2
	@$(bin)/pip --quiet --disable-pip-version-check install --require-hashes -r requirements/fuzz.txt
	@rm -f .venv/.fuzz-*
	@touch $@

reference: packages $(locked) ## Write docs/reference from the verbs and the configuration's model
	@$(bin)/lvs-healthd reference verbs > docs/reference/verbs.md
	@$(bin)/lvs-healthd reference keys > docs/reference/keys.md

wheel: packages $(locked) ## Build a wheel for pip and pipx into dist/
	@$(bin)/python -m hatchling build --target wheel --directory dist

deb: packages $(locked) ## Build the package for Debian 12 and 13 into dist/
	@lab/install-packages packaging/packages.txt
	@packaging/build-deb

# The first two keep this machine's settings out of the files.
compile := --no-emit-index-url --no-header --generate-hashes --universal --python-version 3.11 --upgrade --quiet
lock: $(locked) ## Lock the newest dependencies (needs uv)
	@uv pip compile $(compile) pyproject.toml requirements/runtime.in --output-file requirements/runtime.txt
	@uv pip compile $(compile) pyproject.toml requirements/dev.in --output-file requirements/dev.txt
	@uv pip compile $(compile) requirements/bench.in --constraints requirements/dev.txt --output-file requirements/bench.txt
	@uv pip compile $(compile) requirements/fuzz.in --constraints requirements/dev.txt --output-file requirements/fuzz.txt
