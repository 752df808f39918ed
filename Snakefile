"""The batch on a cluster: short runs share a job, a long one has its own, and so has each notebook. `make cluster`.

`make reproduce` does the same on one machine, in processes that start once.
"""

from functools import cache

from replication import data, paths
from replication.batch import cluster, dependencies, notebooks
from replication.paper.experiments import all_runs
from replication.paper.plans import make_plan
from replication.paper.readings import STANDARD
from replication.runs import records

PLAN = make_plan(
    config.get("profile", "quick"), datasets=config.get("datasets"), reading=config.get("reading", STANDARD.name)
)
RUNS = paths.runs(PLAN.profile).relative_to(paths.ROOT)
OUT = dependencies.folder(PLAN).relative_to(paths.ROOT)
PARAMETERS = dependencies.parameters(PLAN)
SHARES = {run.run_id: tuple(share) for share in cluster.shares(all_runs(PLAN)) for run in share}
GPU = cluster.gpus(config.get("gpu", 0))
MEM_MB = 3000  # a worker takes up to 1.6 GB, and the processes that start it the rest

if workflow.is_main_process:  # the machines that train may have no network
    for name in PLAN.datasets:
        data.load(name)
    dependencies.note_parameters(PLAN)


@cache
def missing(share):
    """The runs of a job that are not complete, by run_id."""
    return {run.run_id: run for run in share if not records.is_complete(run, RUNS)}


def finished(run_ids):
    """The files by which a notebook knows that its runs are complete; where one is not there yet, a rule makes it."""
    files = set()
    for run_id in run_ids:
        todo = missing(SHARES[run_id])
        if run_id not in todo:
            # The output of no rule: Snakemake deletes no complete record. A killed writer left it under another name.
            curve = RUNS / run_id / records.CURVE
            files.update([str(curve)] if curve.exists() else [])
            continue
        last = list(todo.values())[-1]  # its file stands for all that the job trains
        has_record = records.load(last, RUNS) is not None
        extended = f"{OUT}/extended/{last.run_id}-{last.samples_total}"
        files.add(extended if has_record else f"{RUNS}/{last.run_id}/{records.INDEX}")
    return sorted(files)


def only(wildcards):
    """The runs of a job, those included that are complete: the command leaves them out."""
    return ",".join(run.run_id for run in SHARES[wildcards.run_id])


def minutes(wildcards):
    """The time that a job asks for."""
    return cluster.minutes(SHARES[wildcards.run_id])


OPTIONS = "".join(f" --{name} {value}" for name, value in PARAMETERS.items()) + " > {log} 2>&1"
# In the place of the shell, so that Snakemake is its parent: it ends with it, even where that is killed.
TRAIN = "exec python -m replication train --parent $PPID --jobs 1 --only {params.only}" + OPTIONS
EXECUTE = "exec python -m replication execute {wildcards.notebook} --parent $PPID" + OPTIONS


# The runs are named here too: Snakemake does not make a missing file anew for a notebook that is there.
rule all:
    input:
        lambda wildcards: finished(SHARES),
        expand(f"{OUT}/{{notebook}}.ipynb", notebook=notebooks.names()),


# Runs of which the last that is missing has no record.
rule train:
    output:
        f"{RUNS}/{{run_id}}/{records.INDEX}",
    log:
        f"{OUT}/logs/{{run_id}}.log",
    params:
        only=only,
    resources:
        mem_mb=MEM_MB,
        runtime=minutes,
        gpu=GPU,
    shell:
        TRAIN


# Runs of which the last that is missing has a record shorter than what is asked for. It stays in its place until the
# longer one replaces it, so it is not an output: Snakemake deletes the outputs of a job that starts.
rule extend:
    input:
        f"{RUNS}/{{run_id}}/{records.CURVE}",
    output:
        touch(f"{OUT}/extended/{{run_id}}-{{samples}}"),
    wildcard_constraints:
        samples=r"\d+",
    log:
        f"{OUT}/logs/{{run_id}}-{{samples}}.log",
    params:
        only=only,
    resources:
        mem_mb=MEM_MB,
        runtime=minutes,
        gpu=GPU,
    shell:
        TRAIN


rule notebook:
    input:
        lambda wildcards: [file.relative_to(paths.ROOT) for file in dependencies.inputs(wildcards.notebook, PLAN)],
        lambda wildcards: finished(run.run_id for run in dependencies.runs_before(wildcards.notebook, PLAN)),
    output:
        f"{OUT}/{{notebook}}.ipynb",
    log:
        f"{OUT}/logs/{{notebook}}.log",
    resources:
        mem_mb=MEM_MB,
        runtime=240,
    retries: 1
    priority: 1
    shell:
        EXECUTE
