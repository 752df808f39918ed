"""The batch on a cluster: a job per training run, one per notebook. `snakemake --executor slurm --config profile=paper`.

`make reproduce` does the same on one machine, in processes that start once.
"""

from replication import batch, paths
from replication.paper.experiments import all_runs, runs_of_notebook, settings
from replication.runs import records

CHOSEN = settings(
    config.get("profile", "quick"), datasets=config.get("datasets"), reading=config.get("reading", "closest")
)
RUNS = paths.runs(CHOSEN.profile).relative_to(paths.ROOT)
OUT = batch.folder(CHOSEN).relative_to(paths.ROOT)
PARAMETERS = batch.parameters(CHOSEN)


def finished(run):
    """The file by which a notebook knows that a run is complete; where it is not yet, a rule makes it."""
    if records.is_complete(run, RUNS):
        return f"{RUNS}/{run.run_id}/curve.csv"  # the output of no rule: Snakemake never deletes a complete record
    if records.load(run, RUNS) is None:
        return f"{RUNS}/{run.run_id}/config.json"
    return f"{OUT}/extended/{run.run_id}-{run.samples_total}"


# Every run once, as far as the notebook that wants most of it.
FINISHED = {run.run_id: finished(run) for run in all_runs(CHOSEN)}
TRAIN = "python -m replication train --jobs 1 --only {wildcards.run_id}"
TRAIN += "".join(f" --{name} {value}" for name, value in PARAMETERS.items()) + " > {log} 2>&1"


# The runs are named here too: Snakemake does not make a missing file anew for a notebook that is there.
rule all:
    input:
        FINISHED.values(),
        expand(f"{OUT}/{{notebook}}.ipynb", notebook=batch.notebooks()),


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
        lambda wildcards: [file.relative_to(paths.ROOT) for file in batch.inputs(wildcards.notebook)],
        lambda wildcards: [FINISHED[run.run_id] for run in runs_of_notebook(wildcards.notebook, CHOSEN)],
    output:
        f"{OUT}/{{notebook}}.ipynb",
    log:
        f"{OUT}/logs/{{notebook}}.log",
    retries: 1
    priority: 1
    shell:
        f"papermill notebooks/{{wildcards.notebook}}.ipynb {OUT}/logs/{{wildcards.notebook}}.ipynb"
        " --cwd notebooks --no-progress-bar"
        + "".join(f" -p {name} {value}" for name, value in PARAMETERS.items())
        + f" > {{log}} 2>&1"
        f" && mv {OUT}/logs/{{wildcards.notebook}}.ipynb {{output}}"
