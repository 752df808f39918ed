# The project's commands. `make reproduce` and `make test` are the two to know.
PYTHON ?= python3.11
PROFILE ?= quick
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# The cores that this process may use, in a container or a Slurm job too.
JOBS ?= $(shell $(BIN)/python -c "import joblib; print(joblib.cpu_count())")
export PATH := $(BIN):$(PATH)
export PYTHONPATH :=

.PHONY: reproduce test drift notebooks nbval verdict report explorer benchmark lab lint lock clean

reproduce: $(VENV)/installed  ## data, runs, notebooks, figures: PROFILE=smoke, quick (default) or paper
	python -m replication reproduce --profile $(PROFILE) --jobs $(JOBS)

test: $(VENV)/installed  ## the unit tests
	python -m pytest -n $(JOBS) --dist worksteal tests

notebooks: $(VENV)/installed  ## execute the committed notebooks in place, from recorded runs
	python -m replication notebooks

drift: $(VENV)/installed  ## recorded runs, trained anew to their first mark
	python -m pytest -n $(JOBS) -m drift tests

nbval: $(VENV)/installed  ## re-run the committed notebooks and compare with their stored outputs
	REPLICATION_RECORDED_ONLY=1 python -m pytest --nbval --nbval-current-env --dist loadscope notebooks

verdict: $(VENV)/installed  ## every curve and claim of the paper beside the recorded runs
	@python -m replication verdict

report: PROFILE = paper
report: $(VENV)/installed  ## the executed notebooks as web pages: out/<profile>/report/index.html
	python -m replication report --profile $(PROFILE)

explorer: $(VENV)/installed  ## the explorer as an app in the browser
	voila notebooks/7_explorer.ipynb

benchmark: $(VENV)/installed  ## samples per second against Keras fit and a plain matrix product
	python -m replication benchmark

lab: $(VENV)/installed  ## open the notebooks
	jupyter lab notebooks

lint: $(VENV)/installed
	ruff check . && ruff format --check .

lock: $(VENV)/installed  ## resolve the lock file anew from the ranges in pyproject.toml
	pip install --quiet uv && uv pip compile --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

clean:  ## everything that a command above can make again, except data and the user's checkpoints
	rm -rf out figures/smoke figures/quick $(VENV)

$(VENV)/installed: requirements.lock pyproject.toml
	$(or $(shell command -v $(PYTHON)),python3) -m venv $(VENV)
	pip install --quiet --disable-pip-version-check -r requirements.lock
	pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
