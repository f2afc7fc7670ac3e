# From a bare machine with Python 3.11-3.13 and make to a finished demo. POSIX sh and make 3.81 (macOS) suffice.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo doctor sheet progress view replay withdraw test torture kills cluster soak bench lint format schema sizes bill lock forget clean

ifneq ($(words $(CURDIR)),1)
$(error There is a blank in the path of this folder, "$(CURDIR)". The jobs would not start there: move or rename it)
endif

VENV  := .venv
ON_GPU := $(filter-out 0 no false,$(GPU))
LOCK  := envs/requirements$(if $(ON_GPU),-gpu).lock
STAMP := $(VENV)/.installed-$(notdir $(LOCK))
LOG   := $(VENV)/install.log
FOLDER ?= .
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
# Each holds a TensorFlow of its own, some 3 GB at most.
WORKERS ?= $(shell [ $(CORES) -lt 4 ] && echo $(CORES) || echo 4)

PYTHONS  := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# snakefmt looks for shfmt on the PATH, and -m does without the absolute paths in the environment's launchers.
RUN      := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m

# Cluster modules set these, and pip would then take their packages for installed.
unexport PYTHONPATH PYTHONHOME
# As the Snakefile sets it for jobs, for the trainings of the tests.
export MALLOC_ARENA_MAX ?= 1
# TensorFlow's start-up remarks. On a GPU they say which library is missing, so there they stay.
ifeq ($(ON_GPU),)
export TF_CPP_MIN_LOG_LEVEL ?= 2
endif

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed 's/:.*## /|/' | while IFS='|' read -r target text; do \
	  printf '  make %-8s %s\n' "$$target" "$$text"; done
	@echo
	@echo '  CORES=4   processor cores for the demo (default: all)    GPU=1   install for an NVIDIA GPU'
	@echo '  PYTHON=…  the Python to build the environment with       ARGS=…  passed on to what is run'

env: $(STAMP) ## Make .venv and install what the lock file names

demo: $(STAMP) ## Run the whole workflow on the embedded demo cohort
	@DRUNET_COMMAND='make demo $(MAKEOVERRIDES)' $(RUN) snakemake --cores $(CORES) $(ARGS)
	@set -- results/report/*.html; printf '\nDone. The report: %s\n' "$$1"

doctor: $(STAMP) ## Look at everything that a run needs, and say what is broken and how to mend it
	@$(RUN) drunet_commands.cli doctor $(ARGS)

sheet: $(STAMP) ## Draft a sheet from the slides and annotations in FOLDER
	@$(RUN) drunet_commands.cli init-sheet $(FOLDER) $(ARGS)

progress: $(STAMP) ## Show how far the run is that goes on here, or went on last
	@$(RUN) drunet_commands.cli progress $(ARGS)

view: $(STAMP) ## Look at slides and results in the browser (ARGS="--configfile mine.yaml")
	@$(RUN) drunet_commands.cli view $(ARGS)

test: $(STAMP) ## Run the tests; ALL=1: the slow ones too
	@$(RUN) pytest --numprocesses $(WORKERS) --dist loadfile $(if $(ALL),-m '') $(ARGS)

torture: $(STAMP) ## Run a thousand broken slides and files, and say what became of each
	@PYTHONPATH=scripts:workflow:tests $(RUN) torture $(ARGS)

kills: $(STAMP) ## Cut runs off at 25 moments, take them up again and compare the results
	@PYTHONPATH=scripts:workflow:tests $(RUN) kills $(ARGS)

cluster: $(STAMP) ## Segment slides on a Slurm of one node, meddle with its jobs and compare (root on Debian)
	@PYTHONPATH=scripts:workflow:tests $(RUN) cluster $(ARGS)

soak: $(STAMP) ## Run many tiny slides, and a report of 10,000, and watch memory, open files and time
	@PYTHONPATH=scripts:workflow:tests $(RUN) soak $(ARGS)

bench: $(STAMP) ## Run the benchmarks, 20 minutes at most (ARGS="planning --minutes 5")
	@PYTHONPATH=scripts:workflow $(RUN) bench $(ARGS)

lint: $(STAMP) ## Check style, types, the workflow's own rules and a dry run of the demo
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check workflow Snakefile
	$(RUN) snakemake --lint
	$(RUN) mypy scripts/drunet scripts/drunet_commands scripts/drunet_demo workflow/studies
	PYTHONPATH=scripts:workflow $(VENV)/bin/python -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-cache
	$(RUN) snakemake --dry-run --quiet

format: $(STAMP) ## Rewrite the sources in the project's style
	$(RUN) ruff check --fix --select I .
	$(RUN) ruff format .
	$(RUN) snakefmt workflow Snakefile

replay: $(STAMP) ## Make a slide anew from the crate of its run and compare (CRATE=… SLIDE=…)
	@$(RUN) drunet_commands.cli replay "$(CRATE)" "$(SLIDE)"

withdraw: $(STAMP) ## List what results hold of a patient (PATIENT=…), and remove it (ARGS=--remove)
	@$(RUN) drunet_commands.cli withdraw "$(PATIENT)" $(ARGS)

schema: $(STAMP) ## Write the JSON schema of config.yaml from the models of the settings
	@PYTHONPATH=scripts:workflow $(VENV)/bin/python workflow/schemas/make_schema.py

sizes: $(STAMP) ## Count the lines of product, studies and tests
	@$(RUN) bench.sizes

bill: $(STAMP) ## Write a software bill (CycloneDX) of the lock file to bill.cdx.json
	@$(VENV)/bin/python envs/make_bill.py $(LOCK) bill.cdx.json

lock: ## Pin anew the versions that pyproject.toml allows (needs uv; UPGRADE=1 takes the newest)
	@command -v uv >/dev/null || { echo 'make lock needs uv, which is not on the PATH (pip install uv).' >&2; exit 1; }
	$(UV_LOCK) -o envs/requirements.lock
	$(UV_LOCK) --extra gpu -o envs/requirements-gpu.lock

UV_LOCK = uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --extra dev --extra slurm $(if $(UPGRADE),--upgrade)

# Names of slide files are those of inputs. What is done stays done: results are older than nothing.
forget: ## Remove the names of files that Snakemake keeps in .snakemake of FOLDER (default: here)
	@[ ! -e "$(FOLDER)/.snakemake/locks" ] || [ -z "$$(ls -A "$(FOLDER)/.snakemake/locks")" ] || \
	  { echo 'A run is going on there, or was killed (snakemake --unlock).' >&2; exit 1; }
	@[ ! -d "$(FOLDER)/.snakemake" ] || find "$(FOLDER)/.snakemake" -mindepth 1 -maxdepth 1 ! -name incomplete ! -name locks \
	  ! -name 'conda*' ! -name singularity -exec rm -rf {} +

clean: ## Remove the environment and caches; results and what Snakemake knows of them stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build
	find scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is the last thing made, so an interrupted or failed install is never taken for a whole one. `.installing`
# outlives it: pip would take a half-unpacked package for installed, so the next call then starts from an empty folder.
$(STAMP): $(LOCK) pyproject.toml
	@$(FIND_PYTHON)
	@rm -f $(VENV)/.installed-*; : > $(VENV)/.installing; : > $(LOG)
	@echo 'Installing $(LOCK) into $(VENV): several gigabytes, some minutes; the log is $(LOG)'
	@$(INSTALL)
	@$(INSTALL_DRUNET)
	@rm -f $(VENV)/.installing; : > $@

# An environment that is whole and in range is kept, and only what the lock or the commands changed is installed.
define FIND_PYTHON
if [ ! -e $(VENV)/.installing ] && $(VENV)/bin/python -c '$(IN_RANGE)' 2>/dev/null \
  && $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
bare=; for python in $(PYTHONS); do \
  "$$python" -c '$(IN_RANGE)' 2>/dev/null || continue; \
  if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
    echo "Making $(VENV) with $$python"; exec "$$python" -m venv --clear $(VENV); fi; \
  bare=$$python; \
done; \
if [ -n "$$bare" ]; then \
  echo "$$bare has no venv module. Debian, Ubuntu: apt install python3-venv (or $${bare##*/}-venv). Then run make again."; \
else \
  echo 'No Python 3.11, 3.12 or 3.13 that runs (tried: $(PYTHONS)).'; \
  echo 'Install one, or name it: make PYTHON=path/to/python3.12'; \
fi >&2; exit 1
endef

# setuptools and wheel come first, so that the few packages without a wheel are built with the pinned ones.
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-input \
  --require-hashes --no-deps

define INSTALL
awk '/^[a-z]/ {wanted = /^(setuptools|wheel)==/} wanted' $(LOCK) > $(VENV)/build.lock; \
total=$$(grep -c '==' $(LOCK)); count=0; \
{ { $(PIP) -r $(VENV)/build.lock && $(PIP) --no-build-isolation --use-pep517 -r $(LOCK); } 2>&1 \
  || echo 'install failed'; } | while IFS= read -r line; do \
  printf '%s\n' "$$line" >> $(LOG); \
  case $$line in \
    Collecting*|Requirement*|Ignoring*) count=$$((count + 1)); \
      if [ -t 1 ]; then line=$${line%% (*}; line=$${line%% in ./*}; printf '\r\033[K  %s of %s  %.60s' $$count $$total "$$line"; fi;; \
    'Installing collected'*) \
      if [ -t 1 ]; then printf '\r\033[K  unpacking'; fi;; \
  esac; \
done; \
if [ -t 1 ]; then printf '\r\033[K'; fi; \
if [ "$$(tail -n 1 $(LOG))" = 'install failed' ]; then \
  { tail -n 12 $(LOG) | sed '$$d'; echo; \
  if grep -qE 'Retrying|Connection|timed out|Temporary failure|SSLError|ProxyError' $(LOG); then \
    echo 'The package index could not be reached: check the network or proxy and run make again.'; \
  elif grep -q 'No space left' $(LOG); then \
    echo 'The disk is full: make room and run make again.'; \
  elif grep -q 'DO NOT MATCH THE HASHES' $(LOG); then \
    echo 'A package is not the one that was pinned: do not install it, look where your index gets it from.'; \
  elif grep -q 'No matching distribution' $(LOG); then \
    echo 'A package has no build for this Python, system or processor (Linux x86-64, Python 3.11 is the tested one).'; \
  fi; echo 'Whole log: $(LOG)'; } >&2; exit 1; \
fi; \
echo 'Installed.'
endef

# The command `drunet`, which follows every change of this folder.
INSTALL_DRUNET = $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --no-index --no-deps \
  --no-build-isolation --editable . >> $(LOG) 2>&1 || { tail -n 5 $(LOG) >&2; exit 1; }
