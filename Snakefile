"""The batch: one job per training run, one per notebook. `snakemake --cores 2 --config profile=quick`."""

from pathlib import Path

from replication import paths
from replication.paper.experiments import all_runs, runs_of_notebook, settings
from replication.runs import records

CHOSEN = settings(
    config.get("profile", "quick"), datasets=config.get("datasets"), reading=config.get("reading", "closest")
)
RUNS = paths.runs(CHOSEN.profile).relative_to(paths.ROOT)
READING = CHOSEN.reading.name
OUT = paths.executed(CHOSEN.profile, READING).relative_to(paths.ROOT)
DATASETS = ",".join(CHOSEN.datasets)
NOTEBOOKS = sorted(notebook.stem for notebook in paths.NOTEBOOKS.glob("[0-9]_*.ipynb"))
NOT_IN_NOTEBOOKS = ("__main__.py", "batch.py", "benchmark/*.py")
SOURCE = [
    str(file)
    for file in sorted(Path("replication").rglob("*.py"))
    if not any(file.match(f"replication/{pattern}") for pattern in NOT_IN_NOTEBOOKS)
]


def finished(run):
    """The file by which a notebook knows that a run is complete; where it is not yet, a rule makes it."""
    if records.is_complete(run, RUNS):
        return f"{RUNS}/{run.run_id}/curve.csv"  # the output of no rule: Snakemake never deletes a complete record
    if records.load(run, RUNS) is None:
        return f"{RUNS}/{run.run_id}/config.json"
    return f"{OUT}/extended/{run.run_id}-{run.samples_total}"


# Every run once, as far as the notebook that wants most of it.
FINISHED = {run.run_id: finished(run) for run in all_runs(CHOSEN)}
TRAIN = f"python -m replication train --profile {CHOSEN.profile} --datasets {DATASETS} --reading {READING} --jobs 1"
TRAIN += f" --only {{wildcards.run_id}} --outcome {OUT}/logs/{{wildcards.run_id}}.json > {{log}} 2>&1"


# The runs are named here too: Snakemake does not make a missing file anew for a notebook that is there.
rule all:
    input:
        FINISHED.values(),
        expand(f"{OUT}/{{notebook}}.ipynb", notebook=NOTEBOOKS),


# A run without a record.
rule train:
    output:
        f"{RUNS}/{{run_id}}/config.json",
    log:
        f"{OUT}/logs/{{run_id}}.log",
    shell:
        TRAIN


# A run whose record is shorter than what is asked for. It stays in its place until the longer one replaces it, so it
# is not an output: Snakemake deletes the outputs of a job that starts.
rule extend:
    input:
        f"{RUNS}/{{run_id}}/curve.csv",
    output:
        touch(f"{OUT}/extended/{{run_id}}-{{samples}}"),
    wildcard_constraints:
        samples=r"\d+",
    log:
        f"{OUT}/logs/{{run_id}}-{{samples}}.log",
    shell:
        TRAIN


# Executed beside the logs and moved: a failed notebook stays there with its traceback.
rule notebook:
    input:
        SOURCE,
        paths.PAPER_CURVES.relative_to(paths.ROOT),
        notebook="notebooks/{notebook}.ipynb",
        runs=lambda wildcards: [FINISHED[run.run_id] for run in runs_of_notebook(wildcards.notebook, CHOSEN)],
    output:
        f"{OUT}/{{notebook}}.ipynb",
    log:
        f"{OUT}/logs/{{notebook}}.log",
    retries: 1
    priority: 1
    shell:
        f"papermill {{input.notebook}} {OUT}/logs/{{wildcards.notebook}}.ipynb --cwd notebooks --no-progress-bar"
        f" -p profile {CHOSEN.profile} -p datasets {DATASETS} -p reading {READING} > {{log}} 2>&1"
        f" && mv {OUT}/logs/{{wildcards.notebook}}.ipynb {{output}}"
