# The project's commands. `make reproduce` and `make test` are the two to know.
PYTHON ?= $(or $(shell command -v python3.11),python3)
override PYTHON := $(or $(shell command -v "$(PYTHON)"),$(PYTHON))
PROFILE ?= quick
READING ?= authors
KILLS ?= 20
GPU ?= 0
VERSION := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
PYTHONS := 3.11 3.12 3.13
UNSUPPORTED = PYTHON=$(PYTHON) is $(if $(VERSION),Python $(VERSION),no Python). Choose one of $(PYTHONS): make PYTHON=python3.12
VENV := .venv
INSTALLED := $(VENV)/installed-$(VERSION)
# The cores that this process may use, in a container or a Slurm job too; fewer on a GPU.
JOBS ?= $(shell $(VENV)/bin/python -c "from replication.runs import device; print(device.runs_side_by_side())")
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH :=

.PHONY: reproduce cluster test test-benchmark test-faults test-environment test-cluster test-mutations test-overrides drift notebooks nbval verdict site explorer benchmark lab lint lock clean

reproduce: $(INSTALLED)  ## data, runs, notebooks, figures: PROFILE=smoke, quick (default) or paper; READING=text or authors (default)
	python -m replication reproduce --profile $(PROFILE) --reading $(READING) --jobs $(JOBS)

cluster: $(INSTALLED)  ## the same as jobs of a Slurm cluster: PROFILE, READING, GPU=1; OPTIONS are Snakemake's
	python -m snakemake --profile profiles/slurm --config profile=$(PROFILE) reading=$(READING) gpu=$(GPU) $(OPTIONS)

test: $(INSTALLED)  ## the unit tests
	python -m pytest -n $(JOBS) --dist worksteal tests

test-benchmark: $(INSTALLED)  ## other frameworks: contenders of `make benchmark` do the same work; exported runs are the engine's
	pip install --quiet --disable-pip-version-check --editable '.[jax]'
	python -m pytest -n $(JOBS) --dist worksteal -m benchmark tests

test-faults: $(INSTALLED)  ## KILLS=20 kills at random moments, full disks, spoiled files: the same command completes, to the same records; and the slow unit tests
	KILLS=$(KILLS) python -m pytest -n $(JOBS) --dist worksteal -m 'faults or slow' tests

test-environment: $(INSTALLED)  ## environment.yml, for conda and Binder: its lines for pip resolve to the lock file
	pip install --quiet --disable-pip-version-check uv
	python -m pytest -m environment tests/test_environment.py

test-cluster: $(INSTALLED)  ## `make cluster` on a real Slurm of one node, started on this Debian or Ubuntu machine as root
	command -v slurmctld slurmd munged >/dev/null || { apt-get update -qq && apt-get install -y -qq slurm-wlm munge; }
	python -m pytest -s -m cluster tests/test_cluster.py

test-overrides: $(INSTALLED)  ## every notebook with every override of a single setting, on digits: it runs, or is refused in words
	python -m pytest -n $(JOBS) --dist worksteal -m overrides tests

test-mutations: $(INSTALLED)  ## about a hundred faults, put in one after another: the tests that are for each see it
	python tests/run_mutations.py

notebooks: $(INSTALLED)  ## execute the committed notebooks in place, from recorded runs
	python -m replication notebooks

drift: $(INSTALLED)  ## recorded runs, trained anew to their first evaluation point, and three short ones to the bit
	python -m pytest -n $(JOBS) -m drift tests

nbval: $(INSTALLED)  ## re-run the committed notebooks and compare with their stored outputs
	REPLICATION_RECORDED_ONLY=1 python -m pytest -n $(JOBS) --dist loadscope --nbval --nbval-current-env notebooks

verdict: $(INSTALLED)  ## every curve and claim of the paper, compared with the recorded runs
	@python -m replication verdict

site: $(INSTALLED)  ## README, notebooks and modules as web pages that need no network: out/site/index.html
	rm -rf docs/api out/site
	python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet -c docs -d out/doctrees . out/site
	@echo "Open out/site/index.html"

explorer: $(INSTALLED)  ## the explorer as an app in the browser
	voila notebooks/7_explorer.ipynb --Voila.root_dir=.

benchmark: $(INSTALLED)  ## this engine beside JAX, PyTorch, Keras and plain matrix products: tables and a figure
	python -m replication benchmark

lab: $(INSTALLED)  ## open the notebooks
	jupyter lab notebooks

lint: $(INSTALLED)  ## style, the one way of the imports, types
	ruff check .
	ruff format --check .
	lint-imports
	mypy

lock: $(INSTALLED)  ## resolve the lock file anew from the ranges in pyproject.toml
	pip install --quiet uv && uv pip compile --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

clean:  ## what a command above can make again: not data, checkpoints, and what `export` or you put into out/
	rm -rf $(addprefix out/,smoke quick paper failed site doctrees) docs/api figures/smoke figures/quick $(VENV)

# Made anew when the lock or the version of Python changes, so that nothing of the old one stays.
$(INSTALLED): requirements.lock pyproject.toml
	$(if $(filter $(VERSION),$(PYTHONS)),,$(error $(UNSUPPORTED)))
	"$(PYTHON)" -m venv --clear $(VENV)
	pip install --quiet --disable-pip-version-check -r requirements.lock
	pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
