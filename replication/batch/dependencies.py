"""What a batch makes of what, wherever it runs: what a notebook depends on, what it is told, where it goes."""

import json
from collections.abc import Callable
from pathlib import Path

from replication import paths
from replication.config import RunConfig
from replication.files import write_atomically
from replication.paper import rates
from replication.paper.experiments import all_runs, decoded, figure2, figure3, other_seeds, runs_of_notebook
from replication.paper.plans import Plan, make_plan
from replication.paper.readings import READINGS, STANDARD
from replication.runs import records

NOT_IN_NOTEBOOKS = ("__main__.py", "batch/*.py", "benchmark/*.py", "exported/*.py")
TABLES = {
    "1_estimators": ("gradient_variance-*/table.csv",),
    "2_lower_bound": ("first_iterations.csv",),
    "3_marginal_likelihood": (
        "first_iterations.csv",
        *(f"{name}-*/table.csv" for name in ("log_px_accuracy", "log_px_brute_force", "authors_estimator_*")),
    ),
    "5_samples": ("inference_gap-*/table.csv",),
    "9_graphics": ("first_dashed_frey_face-*/table.csv", "first_report_mcem-*/table.csv"),
}


def folder(plan: Plan) -> Path:
    """Where the batch puts the executed notebooks and its logs."""
    out = paths.out(plan.profile)
    return out if plan.reading is STANDARD else out / plan.reading.name


def parameters(plan: Plan) -> dict[str, str]:
    """What the batch tells each run and notebook: their options and parameters."""
    return {"profile": plan.profile, "datasets": ",".join(plan.datasets), "reading": plan.reading.name}


def note_parameters(plan: Plan) -> None:
    """Write down what the notebooks are told; what is executed with something else is older than this file then."""
    file, text = _parameters_file(plan), json.dumps(parameters(plan), indent=1) + "\n"
    if not file.exists() or file.read_bytes() != text.encode():
        write_atomically(file, lambda draft: draft.write_text(text, encoding="utf-8"))


def runs_before(notebook: str, plan: Plan) -> list[RunConfig]:
    """The runs of the batch that come before the notebook: those that it needs, or takes where they are there."""
    needed = {run.run_id for run in runs_of_notebook(notebook, plan)}
    taken, runs = set(_other_records(notebook, plan)), paths.runs(plan.profile)
    return [run for run in all_runs(plan) if run.run_id in needed or runs / run.run_id in taken]


def inputs(notebook: str, plan: Plan) -> list[Path]:
    """The files that a notebook depends on, beside the records of `runs_before`; it is as new as they are, or newer."""
    package, runs = paths.ROOT / "replication", paths.runs(plan.profile)
    source = {*package.rglob("*.py")} - {file for pattern in NOT_IN_NOTEBOOKS for file in package.glob(pattern)}
    of_batch = {runs / run.run_id for run in all_runs(plan)}
    curves = [record / records.CURVE for record in _other_records(notebook, plan) if record not in of_batch]
    present = [curve for curve in curves if curve.exists()]
    for pattern in TABLES.get(notebook, ()):
        present += {file for profile in (plan.profile, "paper") for file in paths.tables(profile).glob(pattern)}
    said = [paths.PAPER_PATHS, paths.NOTEBOOKS / f"{notebook}.ipynb", _parameters_file(plan)]
    return [*sorted(source), *said, *sorted(present)]


def _parameters_file(plan: Plan) -> Path:
    return folder(plan) / "parameters.json"


def _seeds(plan: Plan) -> list[Path]:
    return _folders(other_seeds(plan), plan.profile)


def _mcem_of_every_reading(plan: Plan) -> list[Path]:
    shown = [run for reading in READINGS.values() for run in figure3(plan._replace(reading=reading))]
    return _folders([run for run in shown if run.algorithm == "mcem"], plan.profile)


def _decoded(plan: Plan) -> list[Path]:
    return _folders(decoded(plan), plan.profile)


def _of_every_reading(plan: Plan) -> list[Path]:
    plans = [make_plan(plan.profile, reading=name) for name in READINGS]
    runs = [run for each in plans for run in (*figure2(each), *figure3(each), *other_seeds(each))]
    return [*_seeds(plan), *_folders(runs, plan.profile)]


def _tried(plan: Plan) -> list[Path]:
    shown = [run for reading in READINGS.values() for run in figure2(plan._replace(reading=reading))]
    return [*_folders(shown, plan.profile), *_folders(rates.candidates(), "paper")]


def _folders(runs: list[RunConfig], profile: str) -> list[Path]:
    return [paths.runs(profile) / run_id for run_id in dict.fromkeys(run.run_id for run in runs)]


# Records that a notebook takes where they are there, beside those of its runs.
OTHER_RECORDS: dict[str, Callable[[Plan], list[Path]]] = {
    "2_lower_bound": _seeds,
    "3_marginal_likelihood": _mcem_of_every_reading,
    "5_samples": _decoded,
    "8_verdict": _of_every_reading,
    "9_readings": _tried,
}


def _other_records(notebook: str, plan: Plan) -> list[Path]:
    return OTHER_RECORDS.get(notebook, lambda plan: [])(plan)
