# Every target makes .venv by itself when it is missing, half-made, older than its lock, or of another folder.
# See `make help`. A variable is a word, whatever is in it: neither make nor the shell runs any of it. ARGS is read by
# the shell, as if it was typed after the command.
PYTHON ?= python3
SWEEP ?= first_look
BIN := .venv/bin
CNNLAB := $(BIN)/python -m cnnlab
READY := .venv/.ready
PEERS := .venv/.peers
CLUSTER := .venv/.cluster
PIP := $(BIN)/python -m pip install -qq
define NEWLINE


endef
# `$(call held,SWEEP)` is what the variable SWEEP holds, in quotes, `$(call each,ONLY)` each of its words (files
# where it is a pattern, *.png), and `$(call option,JOBS,--jobs)` the option, or nothing if it is empty.
quoted = '$(subst ','\'',$(subst $(NEWLINE), ,$(1)))'
held = $(call quoted,$(value $(1)))
each = $(foreach word,$(value $(1)),$(foreach found,$(or $(wildcard $(word)),$(word)),$(call quoted,$(found))))
option = $(if $(strip $(value $(1))),$(call quoted,$(2)=$(value $(1))))
ifeq ($(origin HOST),environment)
HOST := # whom to serve is said on the command line alone: some shells have the machine's own name in this variable
endif
unexport SWEEP SEEDS JOBS LAUNCHER DATA EPOCHS RUN STUDY ONLY PORT HOST STORE ADMIN IMAGE A B UPDATE
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
ALONE := cost derivations # studies without a sweep
ENGINE = $(if $(filter ray,$(value LAUNCHER)),$(CLUSTER),$(READY)) # what launches a sweep
PROGRAM = $(filter experiments/$(value STUDY)/%,$(wildcard $(foreach name,$(ALONE) slowdown,experiments/*/$(name).py))) # what no sweep finds out
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# `$(PYTHON) -c '$(LOCKED)' command` runs the command once no other make is at work on .venv. The lock is on an
# open file that the command inherits, so it ends with the last of its processes, even killed ones.
LOCKED = import fcntl, os, sys; \
    sys.version_info >= (3, 11) or sys.exit("make: Python 3.11 or newer is needed, and $(PYTHON) is %d.%d: \
    make PYTHON=python3.11" % sys.version_info[:2]); \
    f = os.open("Makefile", os.O_RDWR); os.set_inheritable(f, True); fcntl.flock(f, fcntl.LOCK_EX); \
    os.execvp(sys.argv[1], sys.argv[1:])

# A .venv is full of absolute paths: a copied or moved one would run, and change, what lies at its old place. It is
# used only in the folder that it was made in, and made again elsewhere; a link to another's is removed.
USABLE := $(shell test -x $(BIN)/python && case "$$(cat .venv/pyvenv.cfg)" in (*" $$(pwd -P)/.venv"*) echo yes;; esac)
STALE := $(if $(USABLE),,$(wildcard .venv/pyvenv.cfg))
ifndef USABLE
$(shell if test -L .venv; then rm .venv; else rm -f $(READY) $(PEERS) $(CLUSTER); fi)
endif

.PHONY: help setup train sweep study evaluate predict compare report reproduce search ui server data test test-cluster soak parity lint bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {line = sprintf("make %-12s", $$1); n = split($$2, words, " "); \
	    for (i = 1; i <= n; i++) {if (length(line words[i]) > 78) {print line; line = sprintf("%17s", "")}; \
	    line = line " " words[i]}; print line}' Makefile # folded at 80 columns
	@echo 'A variable is one word, whatever is in it; ARGS="..." is read by the shell, as'
	@echo 'if typed after the command.'

setup: $(READY) ## make .venv with the locked versions (about 2 minutes; every other target does it when needed)

train: $(READY) ## one run; ARGS="activation=relu epochs=3" chooses (seconds to hours, by what is chosen)
	@$(CNNLAB) train $(ARGS)

sweep: $(ENGINE) ## an ablation: SWEEP=first_look JOBS=2 SEEDS=3 EPOCHS=5 DATA=... LAUNCHER=slurm|ray ARGS="..."
	@$(CNNLAB) sweep $(call held,SWEEP) $(call option,SEEDS,--seeds) $(call option,JOBS,--jobs) \
	    $(call option,LAUNCHER,--launcher) $(call option,DATA,data) $(call option,EPOCHS,epochs) $(ARGS)

evaluate: $(READY) ## a finished RUN, or all of a study, on test images that are shifted, turned, scaled, noisy; ARGS="shift=4 noise=10"
	@$(CNNLAB) evaluate $(call held,RUN) $(ARGS)

predict: $(READY) ## which digits pictures of yours show: IMAGE=digit.png or IMAGE="a.png b.jpg", by the best run, or RUN=...
	@$(CNNLAB) predict $(call each,IMAGE) $(call option,RUN,--run) $(ARGS)

compare: $(READY) ## two finished runs A=... B=... by their answers to the same test images, paired image by image
	@$(CNNLAB) compare $(call held,A) $(call held,B)

report: $(READY) ## the tables and figures of a finished SWEEP=first_look, in reports/
	@$(CNNLAB) report $(call held,SWEEP)

study: $(ENGINE) ## a question on the full MNIST (needs `make data`): STUDY=pooling JOBS=2 tunes, runs and writes experiments/pooling/; derivations: offline, the formulas and a notebook
ifneq ($(filter $(ALONE),$(value STUDY)),$(or $(value STUDY),none))
	@$(CNNLAB) tune $(call held,STUDY) $(call option,JOBS,--jobs) $(call option,LAUNCHER,--launcher)
	@$(CNNLAB) sweep $(call held,STUDY) $(call option,JOBS,--jobs) $(call option,LAUNCHER,--launcher) || test $$? = 1 # an arm failed: the page says so
	@$(BIN)/python experiments/study.py $(call held,STUDY)
endif
	@$(PROGRAM:%=$(BIN)/python %)

reproduce: $(READY) ## LeNet-5's family on the full MNIST (hours; needs `make data`); ONLY=lenet5_1998 for one row, JOBS=2; UPDATE=1 writes the notebook
	@$(CNNLAB) reproduce $(call each,ONLY) $(call option,JOBS,--jobs) $(if $(value UPDATE),&& $(BIN)/python experiments/lenet_family/update.py)

search: $(READY) ## numbers and words with the lowest validation error; ARGS="study=my_search lr activation=relu,tanh --trials 30"
	@$(CNNLAB) search $(ARGS)

ui: $(READY) ## MLflow's pages over all runs, on PORT=5000, for this machine alone (10 seconds to start); ARGS=--host=... for others
	@$(CNNLAB) ui $(call option,PORT,--port) $(ARGS)

server: $(READY) ## a store for a team, whose members sign in: ADMIN=file (NAME:PASSWORD) STORE=postgresql://user@host/db HOST=127.0.0.1 PORT=5000
	@$(CNNLAB) server $(call option,ADMIN,--admin) $(call option,STORE,--store) $(call option,HOST,--host) \
	    $(call option,PORT,--port) $(ARGS)

data: $(READY) ## fetch MNIST into data/; ARGS=fashion_mnist for the other one
	@$(CNNLAB) data $(ARGS)

test: $(READY) ## the tests that need neither PyTorch nor JAX; ARGS="-k conv" chooses
	@$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "not parity and not cluster" $(ARGS)

test-cluster: $(CLUSTER) ## two nodes of Ray and of Slurm on this machine, of which one is lost, and many writers to one server (15 minutes, as root, with Slurm and ip)
	@$(ONE_THREAD) $(BIN)/python -m pytest -m cluster -rs $(ARGS)

soak: $(READY) ## kill real runs at random moments, damage files, type nonsense, and count what is lost (an hour); ARGS="--rounds 5 --fuzz 60"
	@$(ONE_THREAD) $(BIN)/python experiments/reliability/soak.py $(ARGS)

parity: $(PEERS) ## install PyTorch and JAX, compare values and gradients with them
	@$(ONE_THREAD) $(BIN)/python -m pytest -m parity tests/parity $(ARGS)

lint: $(READY) ## ruff, mypy, and whether the lock holds all that is needed
	@$(BIN)/python -m pip check && $(BIN)/python -m ruff check && $(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy

bench: $(if $(filter --profile --growth,$(ARGS)),$(READY),$(PEERS)) ## the speed beside PyTorch's and JAX's (20 minutes); ARGS="--only step/*/32", "--profile", "--growth"; UPDATE=1 measures all (an hour) and writes the notebook
	@$(BIN)/python experiments/speed/bench.py $(if $(value UPDATE),--only '*') $(ARGS) $(if $(value UPDATE),&& $(BIN)/python experiments/speed/notebook.py)

clean: ## remove .venv, caches and outputs/, but NEVER mlflow.db, mlartifacts/, mlserver/, data/ or reports/
	@rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache outputs multirun dist
	@find src tests experiments -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

ifndef HAVE_LOCK
$(READY) $(PEERS) $(CLUSTER): requirements.lock pyproject.toml
	@$(PYTHON) -c '$(LOCKED)' $(MAKE) -s $@ HAVE_LOCK=1
else
# The stamp comes last: without it .venv is made afresh, with an old one it is brought up to date.
$(READY): requirements.lock pyproject.toml
	@case "$$(pwd -P)" in (*%*) echo "setup: MLflow does not work below a folder with % in its name" >&2; exit 2;; esac
	@test -e $@ && echo "setup: bringing .venv up to date (seconds to 2 minutes)" || { \
	    echo "setup: $(if $(STALE),.venv is of another folder or its Python is gone: )making .venv with the locked versions (about 2 minutes)"; \
	    $(PYTHON) -m venv --clear .venv; }
	@rm -f $@
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(PEERS): $(READY)
	@echo "setup: adding PyTorch and JAX to .venv (a minute or more: large downloads)"
	@$(PIP) --no-build-isolation -e '.[torch,jax]'
	@touch $@

$(CLUSTER): $(READY)
	@echo "setup: adding Ray to .venv (a minute: large downloads)"
	@$(PIP) --no-build-isolation -e '.[ray,slurm]'
	@touch $@
endif
