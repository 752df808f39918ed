"""The command line: `python -m replication --help`."""

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replication import paths
from replication.errors import ReplicationError
from replication.paper.readings import READINGS, STANDARD
from replication.progress import print_as_utf8

if TYPE_CHECKING:
    from replication.config import RunConfig

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Profile = Annotated[str, typer.Option(help="smoke, quick or paper")]
Reading = Annotated[str, typer.Option(help=f"{' or '.join(READINGS)}: see notebooks/9_readings.ipynb")]
Jobs = Annotated[int, typer.Option(help="runs side by side; -1, the default, is one per core, 4 on a GPU")]
Parent = Annotated[int | None, typer.Option(hidden=True, help="end when this process, which started it, is gone")]
Datasets = Annotated[str | None, typer.Option(help="mnist, frey_face, digits; comma-separated")]


@app.command()
def data() -> None:
    """Find, download, verify and report each dataset."""
    from replication import data
    from replication.config import DATASETS

    failures = []
    for name in DATASETS:
        try:
            dataset = data.load(name)
        except ReplicationError as error:
            failures.append(str(error))
            continue
        sizes = f"{len(dataset.x_train):,} train, {len(dataset.x_test):,} test"
        print(f"{name:10} {sizes}, {dataset.x_train.shape[1]} pixels, verified")
    if failures:
        raise ReplicationError("\n".join(failures))


@app.command()
def train(
    profile: Profile = "quick",
    only: Annotated[str | None, typer.Option(help="run_ids, comma-separated; by default all runs")] = None,
    datasets: Datasets = None,
    reading: Reading = STANDARD.name,
    seed: int = 0,
    jobs: Jobs = -1,
    parent: Parent = None,
) -> None:
    """Train the runs of a profile that are not complete, from their checkpoints."""
    from replication.runs import device, parallel

    if parent:
        parallel.end_with(parent)
    n_workers = device.runs_side_by_side(jobs)
    paths.cache()  # what is wrong with it is said once, not for each run
    todo = _todo(profile, only, datasets, reading, seed)
    paths.refuse_what_is_in_the_way(profile)
    try:
        costs = parallel.train_all(todo, paths.runs(profile), n_workers) if todo else {}
    except KeyboardInterrupt:
        raise ReplicationError("Stopped. Runs go on from their last checkpoint: run the same command again.") from None
    print(f"{parallel.costs_in_words(costs)} The records are in {paths.runs(profile)}")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="a new folder, to be copied to the other machine")],
    profile: Profile = "paper",
    reading: Reading = STANDARD.name,
    only: Annotated[str | None, typer.Option(help="run_ids, comma-separated; by default all")] = None,
    seed: int = 0,
) -> None:
    """Save the runs that are not complete as programs for a machine with a GPU and JAX, but without TensorFlow."""
    from replication.runs import parallel

    todo = _todo(profile, only, None, reading, seed)
    with parallel.without_greetings():
        from replication import exported
    written = exported.write(todo, folder, profile)
    wrote = f"Wrote {parallel.counted(len(written), 'run')} into {folder}."
    print(f"{wrote} On the machine with the GPU: python3 {folder.name}/runner.py")


@app.command()
def collect(folder: Annotated[Path, typer.Argument(help="the exported folder, as it came back")]) -> None:
    """Make records of exported runs that were trained elsewhere, after a check of their last bound."""
    from replication.runs import parallel

    with parallel.without_greetings():
        from replication import exported
    for record in exported.collect(folder, paths.runs(exported.profile_of(folder))):
        print(f"{record.config.run_id}: {record.samples_evaluated:,} samples")


@app.command()
def reproduce(profile: Profile = "quick", reading: Reading = STANDARD.name, jobs: Jobs = -1) -> None:
    """Run the whole batch: data, runs, notebooks, figures, summary."""
    from replication.batch import local
    from replication.runs import device

    paths.ensure_home()
    local.reproduce(profile, reading, device.runs_side_by_side(jobs))


@app.command(hidden=True)
def execute(
    notebook: str,
    profile: Profile = "quick",
    datasets: Datasets = None,
    reading: Reading = STANDARD.name,
    parent: Parent = None,
) -> None:
    """Execute a notebook as `reproduce` does: a job of a cluster."""
    from replication.batch import dependencies, local
    from replication.paper.plans import make_plan
    from replication.runs import parallel

    if parent:
        parallel.end_with(parent)
    plan = make_plan(profile, datasets=datasets, reading=reading)
    local.execute(notebook, dependencies.parameters(plan), dependencies.folder(plan))


@app.command()
def notebooks(only: Annotated[str | None, typer.Option(help="one notebook, such as 2_lower_bound")] = None) -> None:
    """Execute the committed notebooks in place, from recorded runs."""
    from replication.batch.notebooks import execute_in_place

    paths.ensure_home()
    os.environ["REPLICATION_RECORDED_ONLY"] = "1"
    execute_in_place(paths.NOTEBOOKS, only)


@app.command()
def verdict(
    json: Annotated[bool, typer.Option(help="print JSON, one object per curve and claim, instead of tables")] = False,
    readme: Annotated[bool, typer.Option(help="renew the table in README.md instead")] = False,
) -> None:
    """Judge the recorded runs against the paper, curve by curve and claim by claim, under each reading."""
    from replication.paper import report

    if json and readme:
        raise ReplicationError("--json prints and --readme writes: choose one of them.")
    reports = report.make_all()
    if readme:
        report.write_readme(reports)
        print(f"Renewed the table in {report.README}")
    else:
        print(report.as_json(reports) if json else report.as_text(reports))


@app.command()
def benchmark(
    only: Annotated[str | None, typer.Option(help="peers, growth or to_bound; all by default")] = None,
    rounds: Annotated[int, typer.Option(help="in which the contenders take turns")] = 5,
    seconds: Annotated[float, typer.Option(help="of each contender in each round")] = 3.0,
) -> None:
    """Measure this engine beside Keras, PyTorch, JAX and plain matrix products; write the tables and the figure."""
    from replication import benchmark

    benchmark.run(list(benchmark.TITLES) if only is None else [only], rounds, seconds)


def _todo(profile: str, only: str | None, datasets: str | None, reading: str, seed: int) -> "list[RunConfig]":
    """The runs of a profile that are not complete, or those of them that are named."""
    from replication.paper import plans
    from replication.paper.experiments import all_runs
    from replication.runs import records

    plan = plans.make_plan(profile, seed, datasets, reading)
    if no_effect := plans.without_effect(plan):
        print(no_effect)
    known = {config.run_id: config for config in all_runs(plan)}
    if only == "":
        raise ReplicationError("--only names no run: leave it out for all runs, or name them, comma-separated.")
    wanted = list(known) if only is None else list(dict.fromkeys(name.strip() for name in only.split(",")))
    if unknown := [run_id for run_id in wanted if run_id not in known]:
        names = "\n".join(f"  {run_id}" for run_id in known)
        raise ReplicationError(f"Profile {profile} has no run {unknown[0]}. Its runs are:\n{names}")
    return [known[run_id] for run_id in wanted if not records.is_complete(known[run_id], paths.runs(profile))]


def main() -> None:
    """Run a command; what a user can act on is printed without a traceback."""
    print_as_utf8()
    try:
        try:
            app()
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except ReplicationError as error:
        sys.exit(f"{error}")
    except OSError as error:
        from replication.runs.parallel import FULL_DISK

        nobody_reads = error.errno == errno.EPIPE
        if not nobody_reads and error.errno not in FULL_DISK:
            raise
        with Path(os.devnull).open("wb") as nothing:  # for what is left in the buffer, which Python writes at its end
            os.dup2(nothing.fileno(), 1)
        sys.exit(1 if nobody_reads else f"The output cannot be written: {error.strerror}.")


if __name__ == "__main__":
    main()
