"""The batch: one job per training run, one per notebook. `snakemake --cores 2 --config profile=quick`."""

from replication import paths
from replication.paper.experiments import all_runs, decoded, estimators, figure2, figure3, full_vb, manifolds, minibatches, settings

CHOSEN = settings(config.get("profile", "quick"), datasets=config.get("datasets"))
# A notebook waits for its own runs only; one that is not named waits for all.
RUNS_OF = {
    "0_verdict": lambda chosen: figure2(chosen) + figure3(chosen),
    "1_estimators": lambda chosen: estimators(chosen) + minibatches(chosen),
    "2_lower_bound": figure2,
    "3_marginal_likelihood": figure3,
    "4_manifolds": manifolds,
    "5_samples": decoded,
    "6_full_vb": full_vb,
    "7_explorer": decoded,
}
SAMPLES_OF = {run.run_id: run.samples_total for run in all_runs(CHOSEN)}
NOTEBOOKS = sorted(notebook.stem for notebook in paths.NOTEBOOKS.glob("[0-9]_*.ipynb"))
OUT = f"out/{CHOSEN.profile}"
DATASETS = ",".join(CHOSEN.datasets)


rule all:
    input:
        expand(f"{OUT}/{{notebook}}.ipynb", notebook=NOTEBOOKS),


# The record says whether a run is complete, not a time stamp: a fresh clone's job finds it and ends at once.
rule train:
    output:
        touch(f"{OUT}/trained/{{run_id}}-{{samples}}"),
    log:
        f"{OUT}/logs/{{run_id}}-{{samples}}.log",
    shell:
        f"python -m replication train --profile {CHOSEN.profile} --datasets {DATASETS}"
        " --only {wildcards.run_id} --jobs 1 > {log} 2>&1"


# Executed beside the logs and moved: a failed notebook stays there with its traceback.
rule notebook:
    input:
        notebook="notebooks/{notebook}.ipynb",
        runs=lambda wildcards: [
            f"{OUT}/trained/{run.run_id}-{SAMPLES_OF[run.run_id]}"
            for run in RUNS_OF.get(wildcards.notebook, all_runs)(CHOSEN)
        ],
    output:
        f"{OUT}/{{notebook}}.ipynb",
    log:
        f"{OUT}/logs/{{notebook}}.log",
    retries: 1
    priority: 1
    shell:
        f"papermill {{input.notebook}} {OUT}/logs/{{wildcards.notebook}}.ipynb --cwd notebooks --no-progress-bar"
        f" -p profile {CHOSEN.profile} -p datasets {DATASETS} > {{log}} 2>&1"
        f" && mv {OUT}/logs/{{wildcards.notebook}}.ipynb {{output}}"
