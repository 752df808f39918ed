"""`make reproduce`: data, then every run and notebook that is missing, then a summary of what happened."""

import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from replication import data, paths
from replication.batch import dependencies, notebooks
from replication.errors import ReplicationError, UnreachableError
from replication.files import locked
from replication.paper import plans, reference, report
from replication.paper.experiments import all_runs
from replication.paper.plans import Plan, make_plan
from replication.progress import is_watched
from replication.runs import parallel, records
from replication.runs.parallel import Done, Failure, Job

FIRST = "2_lower_bound"  # the main figure
LONGEST = "0_method"  # trains in its cells: begun as soon as its runs allow, it does not end alone
LINES_OF_A_REASON = 12

FALLBACK = """
****************************************************************************************
  MNIST CANNOT BE REACHED: everything below uses the 8 x 8 digits that scikit-learn
  carries. No number or figure of this batch says anything about the paper.
****************************************************************************************
"""


def reachable_datasets() -> list[str]:
    """What the batch can run on: the paper's datasets where they can be had, else the embedded digits, loudly."""
    reachable = []
    for name in ("mnist", "frey_face"):
        try:
            data.load(name)
            reachable.append(name)
        except UnreachableError as error:
            print(error, file=sys.stderr)
    if "mnist" not in reachable:
        print(FALLBACK)
        return ["digits"]
    if "frey_face" not in reachable:
        print("FREY FACE CANNOT BE REACHED: its panels are left out.")
    return reachable


def reproduce(profile: str, reading: str, n_jobs: int) -> None:
    """Do what is missing of a profile and say what was done, how long it took and where to look.

    While another batch of the profile runs, waits for it. Raises ReplicationError when a job fails, or when the user
    stops the batch; what was done is kept.
    """
    start = time.monotonic()
    reference.vertices()  # what is wrong with the file is said before the runs, not after them
    plan = make_plan(profile, datasets=None if profile == "smoke" else reachable_datasets(), reading=reading)
    paths.refuse_what_is_in_the_way(profile)
    if no_effect := plans.without_effect(plan):
        print(no_effect)
    with locked(paths.out(profile)):  # of every reading: two batches would have twice the workers
        dependencies.note_parameters(plan)
        todo = jobs(plan)
        try:
            results, failures = parallel.work_off(todo, n_jobs, _as_line)
        except KeyboardInterrupt:
            raise ReplicationError(_stopped(plan)) from None
        undone = {job.name for job in jobs(plan)}
    print(f"\nProfile {profile}, reading {reading}, on {', '.join(plan.datasets)}, {time.monotonic() - start:.0f} s.")
    if todo:
        costs = {job.name: results[job.name] for job in todo if job.samples and job.name in results}
        print(f"{parallel.costs_in_words(costs)} Executed {parallel.counted(len(results) - len(costs), 'notebook')}.")
    else:
        print("Nothing to do: every run and notebook was there.")
    if undone or failures:
        raise ReplicationError(_unfinished(todo, undone, failures))
    _print_results(plan)
    places = {"Figures": paths.figures(profile), "Notebooks": dependencies.folder(plan), "Records": paths.runs(profile)}
    print()
    for name, place in places.items():
        print(f"{name:9} {place.relative_to(paths.ROOT)}")


def jobs(plan: Plan) -> list[Job]:
    """What is missing, in order: for each notebook its runs and then itself.

    The order of the notebooks is that of `_in_order`.
    """
    runs, out = paths.runs(plan.profile), dependencies.folder(plan)
    needed = {notebook: dependencies.runs_before(notebook, plan) for notebook in notebooks.names()}
    first = {run.run_id for run in needed[FIRST]}
    missing = {
        run.run_id: parallel.training_job(
            run, runs, out / "logs" / f"{run.run_id}.log", rank=0 if run.run_id in first else 2
        )
        for run in all_runs(plan)
        if not records.is_complete(run, runs)
    }
    todo: dict[str, Job] = {}
    missing_of = {name: [run.run_id for run in needed[name] if run.run_id in missing] for name in needed}
    for notebook in _in_order(missing_of):
        needs = missing_of[notebook]
        todo |= {name: missing[name] for name in needs}
        if needs or not _is_current(notebook, plan):
            arguments, log = (notebook, dependencies.parameters(plan), out), out / "logs" / f"{notebook}.log"
            rank = {FIRST: 0, LONGEST: 1}.get(notebook, 2)
            todo[notebook] = Job(notebook, _execute_job, arguments, log, frozenset(needs), rank)
    return list(todo.values())


def _in_order(runs_of: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The notebook of figure 2, then always the one with most runs that none before it has.

    So those that only wait for the runs of others come last, side by side, and the cores end together.
    """
    left, brought = list(runs_of), set[str]()
    while left:
        notebook = max(left, key=lambda name: (name == FIRST, len({*runs_of[name]} - brought)))
        left.remove(notebook)
        brought.update(runs_of[notebook])
        yield notebook


def _is_current(notebook: str, plan: Plan) -> bool:
    """Whether the executed notebook is there and newer than all that it depends on; its runs are complete."""
    executed = dependencies.folder(plan) / f"{notebook}.ipynb"
    runs = [paths.runs(plan.profile) / run.run_id / records.INDEX for run in dependencies.runs_before(notebook, plan)]
    newest = max(file.stat().st_mtime_ns for file in (*dependencies.inputs(notebook, plan), *runs))
    return notebooks.is_notebook(executed) and executed.stat().st_mtime_ns >= newest


def execute(notebook: str, parameters: Mapping[str, str], out: Path) -> None:
    """Execute a notebook beside the logs and move it: a failed one stays there with its traceback."""
    draft = out / "logs" / f"{notebook}.ipynb"
    notebooks.execute(notebook, draft, parameters)
    draft.replace(out / draft.name)


def _execute_job(report: object, *arguments: Any) -> None:
    execute(*arguments)


def _as_line(job: Job, outcome: Done | Failure) -> str | None:
    """What the terminal says when a job ends: of a run that was trained nothing, since its bar does."""
    if isinstance(outcome, Failure):
        reason = "\n".join(outcome.reason.splitlines()[-LINES_OF_A_REASON:])
        return f"{job.name} failed:\n{textwrap.indent(reason, '  ')}\n  Its log: {job.log}"
    if not job.samples:
        return f"Executed {job.name}"
    return None if is_watched() else f"Trained {job.name} ({outcome.result.core_seconds:.0f} core-seconds)"


def _stopped(plan: Plan) -> str:
    runs = all_runs(plan)
    complete = sum(records.is_complete(run, paths.runs(plan.profile)) for run in runs)
    return (
        f"Stopped. {complete} of {len(runs)} runs are complete, the others keep their last checkpoint: "
        "run the same command again to go on from there."
    )


def _unfinished(todo: list[Job], undone: set[str], failures: Mapping[str, Failure]) -> str:
    said = []
    if failures:
        said.append(f"{len(failures)} of {len(todo)} jobs failed: {', '.join(failures)}. The lines above say why.")
    if not_executed := [name for name in notebooks.names() if name in undone - {*failures}]:
        said.append(f"Not executed, or older by now than what they depend on: {', '.join(not_executed)}.")
    if not_trained := sorted(undone - {*failures, *notebooks.names()}):
        said.append(f"Not trained: {', '.join(not_trained)}.")
    said.append("What was done is kept: run the same command again to do the rest.")
    return "\n".join(said)


def _print_results(plan: Plan) -> None:
    """The last value of every run on test: the bound of figure 2, log p(x) of figure 3 [nats]."""
    for title, on_test in report.last_on_test(plan).items():
        print(f"\n{title}, on test")
        print(on_test.to_string(index=False, float_format="{:.1f}".format, na_rep="-"))
