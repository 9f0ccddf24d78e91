# Each target does its own set-up in .venv and uses no network once that is done. `make help` lists them.
#   make PYTHON=/path/to/python3.12 test     chooses the interpreter of a new environment
#   make test WORKERS=8 ARGS='-k envelope'   ARGS go to the command that the target runs

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test flower faults fuzz soak check fmt bench clean

VENV := .venv
BIN := $(VENV)/bin
# Into the environment of the target's directory.
PIP = PIP_DISABLE_PIP_VERSION_CHECK=1 $(@D)/bin/python -m pip install --quiet
# flwr and amqtt want different versions of typer: so the tests of the one run in an environment without the other.
FLOWER := .venv-flower
WORKERS ?= 3
ARGS ?=

# Many small matrices: BLAS threads would only fight with the processes of a fleet and with each other.
export OPENBLAS_NUM_THREADS := 1
# Hundreds of processes are started: where bytecode is not kept, each compiles all that it imports (an aggregator: 0.2 s).
export PYTHONDONTWRITEBYTECODE :=

# Tests kill processes, not the machine: what they sync may lie in memory, where programs run from there and 2 GiB are free.
SCRATCH = $(shell grep -qs ' /dev/shm tmpfs rw' /proc/mounts && ! grep -q ' /dev/shm .*noexec' /proc/mounts && \
	df -Pk /dev/shm | awk 'NR == 2 && $$4 > 2 ^ 21 { print $$6 }')

# The first interpreter that is new enough and can make virtual environments; searched only when one is to be made.
CANDIDATES = $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
SEARCH = for python in $(CANDIDATES); do \
	"$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; done; \
	test -n "$$python" || { echo "fedloom needs Python 3.11 or later with its venv module, which is none of:" \
	"$(CANDIDATES). Install it (Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python3" >&2; exit 1; }

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## */  make \1	/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.ready-demo  ## a fleet of daemons learns from real recordings, in about a minute
	@$(BIN)/fedloom demo $(ARGS)

FLOWER_TESTS = TMPDIR=$${TMPDIR:-$(SCRATCH)} $(FLOWER)/bin/python -m pytest -n 2 --dist loadfile tests/flower tests/aggregator/flower tests/simulation/cluster

# With ARGS, which are for the larger part, those with Flower and Ray are left out. What fails there does not keep the rest back.
test: $(VENV)/.ready-dev $(if $(ARGS),,$(FLOWER)/.ready)  ## all tests, on WORKERS processes; with ARGS, without those of `make flower`
	@PATH="$$PATH:/usr/sbin" command -v mosquitto >/dev/null || echo "Mosquitto is not installed: tests with a broker" \
	"run on amqtt, and those of its configuration are skipped (Debian: apt install mosquitto)"
	@failed=0; $(if $(ARGS),,$(FLOWER_TESTS) || failed=$$?;) \
	TMPDIR=$${TMPDIR:-$(SCRATCH)} $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) \
		|| failed=$$?; exit $$failed

flower: $(FLOWER)/.ready  ## the tests beside Flower and Ray, in an environment of their own
	@$(FLOWER_TESTS) $(ARGS)

faults: $(VENV)/.ready-dev  ## the whole system in virtual time, each seed another disaster: SEEDS=10000 SEED_START=1
	@$(BIN)/python tests/faults/run.py $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED_START),--start $(SEED_START)) $(ARGS)

fuzz: $(VENV)/.ready-fuzz  ## every parser that faces the wire, guided by coverage: RUNS=10000000 or SECONDS=20
	@$(BIN)/python tests/fuzz/run.py $(if $(RUNS),--runs $(RUNS)) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

MINUTES ?= 30
SEED ?= 1
soak: $(VENV)/.ready-dev  ## fifty devices under random faults: MINUTES=30 SEED=1; all 30 minutes write docs/soak.md
	@PYTHONPATH=.:tests/faults $(BIN)/python -m soak --minutes $(MINUTES) --seed $(SEED) \
		$(if $(filter 30,$(MINUTES)),--out docs) $(ARGS)

check: $(VENV)/.ready-dev  ## format, lint, types, import contracts, docs, and the wheel on a bare device
	@scripts/check

fmt: $(VENV)/.ready-dev  ## format the code and apply safe fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.ready-dev  ## every benchmark, beside its peer; about an hour
	@set -e; for name in footprint round_latency crypto_cost join ingest recovery fusion; do $(BIN)/python benchmarks/$$name.py $(ARGS); done
	@set -e; for name in asynchronous transfer compression simulation; do $(BIN)/python benchmarks/$$name.py; done

clean:  ## remove the environments and everything that was built or cached
	rm -rf $(VENV) $(FLOWER) benchmarks/.device-env benchmarks/.peer-* dist build *.egg-info .mypy_cache .ruff_cache \
		.pytest_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python $(FLOWER)/bin/python:
	@$(SEARCH); echo "Making $(@:/bin/python=) with $$("$$python" --version)"; "$$python" -m venv $(@:/bin/python=)

$(VENV)/.ready-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing fedloom for local fleets into $(VENV)"
	@$(PIP) -c constraints.txt -e '.[sim,onnx]'
	@touch $@

# Everything that the demo needs is in it, so that `make demo` has nothing left to install.
$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing fedloom and its development tools into $(VENV) (PyTorch is the large one: see CONTRIBUTING.md)"
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.ready-demo

# atheris has wheels for few systems. Without it the target says that it was skipped; the tests replay the corpus all the same.
$(VENV)/.ready-fuzz: $(VENV)/.ready-dev
	@$(PIP) --only-binary atheris -c constraints.txt -e '.[fuzz]' || echo "atheris, the fuzzer, cannot be installed here"
	@touch $@

$(FLOWER)/.ready: pyproject.toml constraints.txt | $(FLOWER)/bin/python
	@echo "Installing fedloom and Flower into $(FLOWER)"
	@sed -e '/^typer==/d' -e 's/^# with flwr: //' constraints.txt >$(FLOWER)/constraints.txt
	@$(PIP) -c $(FLOWER)/constraints.txt -e '.[flower-dev]'
	@touch $@
