"""Runs that another machine trains: one that has JAX and a GPU, but not TensorFlow, and perhaps no network.

`write` compiles a run's steps as the engine does and saves the program (StableHLO, the language of XLA) with all that
it needs. `runner.py` goes along and trains there with numpy and jaxlib alone. `collect` makes records of what came
back. Nothing is written twice: the steps, their noise and the bound are those of this package, and so is the order of
the evaluation points; XLA for the other processor rounds in another way.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf

from replication import data, draws
from replication.config import RunConfig
from replication.errors import RecordError, ReplicationError
from replication.exported import runner
from replication.progress import bar
from replication.runs import evaluation, records, running_mean, training
from replication.runs.checkpoints import Run

# What the bound of the returned weights may differ by when TensorFlow evaluates it here, in its standard errors.
MOST_STANDARD_ERRORS_APART = 0.05
SAME_PRECISION = ("precision = [DEFAULT, DEFAULT]", "precision = [HIGHEST, HIGHEST]")  # or a GPU multiplies in TF32


def write(configs: Iterable[RunConfig], folder: Path) -> list[RunConfig]:
    """Save the programs of the runs that can go, with the runner, in a new folder; returns these runs.

    Only a run whose curve is the bound can: the estimates of log p(x) need more than one program.
    """
    runs = [config for config in configs if evaluation.trains_on_its_bound(config)]
    if not runs:
        raise ReplicationError("None of these runs can be exported: only the curve of the bound is one program.")
    if folder.exists():
        raise ReplicationError(f"{folder} exists already: collect what is in it, or choose another folder.")
    (folder / runner.PROGRAMS).mkdir(parents=True)
    arrays: dict[str, np.ndarray] = {}
    jobs = []
    with bar(len(runs), "runs") as progress:
        for config in runs:
            jobs.append(_job(config, folder, arrays))
            progress.update()
    np.savez_compressed(folder / runner.ARRAYS, **cast(dict[str, Any], arrays))
    (folder / runner.JOBS).write_text(json.dumps(jobs))
    shutil.copy(runner.__file__, folder / "runner.py")
    return runs


def collect(folder: Path, records_folder: Path) -> list[records.Record]:
    """Make records of the runs that the runner trained as far as it came.

    Raises RecordError for a run that diverged, and where the bound of the returned weights is not the one that was
    found there: then programs and package do not belong together.
    """
    jobs = json.loads((folder / runner.JOBS).read_text())
    trained = [(job, file) for job in jobs if (file := folder / runner.TRAINED / f"{job['run_id']}.npz").exists()]
    found = [record for job, file in trained if (record := _collect(job, file, records_folder))]
    if not found:
        raise RecordError(f"No run in {folder} has come to an evaluation point: start `python3 runner.py` there first.")
    return found


def _job(config: RunConfig, folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the runner needs to know of one run; its arrays are added to `arrays`, those of equal content once."""
    engine = training.Engine(config, data.load(config.dataset))
    per_step = config.samples_per_step
    points = [math.ceil(n / per_step) for n in evaluation.evaluation_points(config.metric, config.samples_total)]
    noise = [draws.stream(engine.seed, step, "evaluation", "test").numpy().tolist() for step in points]

    def keep(array: tf.Tensor) -> str:
        name = hashlib.sha256(array.numpy().tobytes() + str(array.shape).encode()).hexdigest()[:16]
        arrays[name] = array.numpy()
        return name

    def program(text: str) -> str:
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.mlir"
        (folder / runner.PROGRAMS / name).write_text(text.replace(*SAME_PRECISION))
        return name

    return {
        "run_id": config.run_id,
        "config": config.model_dump(),
        "environment": records.environment(),
        "steps": program(engine.steps_program()),
        "bound": program(evaluation.bound_program(config, engine.initial_state.params, engine.x_eval["test"])),
        "state": [keep(leaf) for leaf in tf.nest.flatten(engine.initial_state)],
        "n_params": len(tf.nest.flatten(engine.initial_state.params)),
        "x_train": keep(engine.x_train),
        "x_test": keep(engine.x_eval["test"]),
        "seed": config.seed,
        "samples_per_step": per_step,
        "points": dict(zip(points, noise, strict=True)),
        "marks": _marks(points[-1], per_step),
    }


def _marks(end: int, samples_per_step: int) -> list[int]:
    """The steps whose sums the running mean on train may need."""
    marks = [running_mean.next_mark(0, samples_per_step)]
    while marks[-1] < end:
        marks.append(running_mean.next_mark(marks[-1], samples_per_step))
    return marks[:-1]


def _collect(job: dict[str, Any], file: Path, records_folder: Path) -> records.Record | None:
    """The record of one run; None where it was stopped before its first evaluation point."""
    config = RunConfig(**job["config"])
    with np.load(file) as content:
        progress = json.loads(str(content["progress"]))
        if progress["first_bad"] >= 0:
            raise RecordError(f"{config.run_id} diverged at step {progress['first_bad']}: try a smaller learning_rate.")
        if not progress["rows"]:
            return None
        params = [tf.constant(content[f"evaluated_{i}"]) for i in range(job["n_params"])]
    dataset = data.load(config.dataset)
    engine = training.Engine(config, dataset)
    rows = _rows(config, progress)
    step = tf.constant(progress["rows"][-1]["step"], tf.int64)
    state = engine.initial_state._replace(
        step=step, params=tf.nest.pack_sequence_as(engine.initial_state.params, params)
    )
    contributor = {"from_samples": 0, **job["environment"], **progress["environment"]}
    contributor["packages"] = {**job["environment"]["packages"], **progress["environment"]["packages"]}
    run = Run(state, tuple(rows), seconds=progress["rows"][-1]["seconds"], contributors=(contributor,))
    _check(config, engine, run)
    return training.save_record(config, dataset, run, records_folder)


def _rows(config: RunConfig, progress: dict[str, Any]) -> list[dict]:
    """The curve as the engine would have written it."""
    of_test = {row["step"]: row for row in progress["rows"]}
    rows: list[dict] = []
    sums: tuple[running_mean.Sums, ...] = running_mean.START
    for step, total, squared in progress["sums"][1:]:
        sums = running_mean.append(sums, running_mean.Sums(step, total, squared), config.samples_per_step)
        if step in of_test:
            row = {**of_test[step], "samples_evaluated": step * config.samples_per_step}
            del row["step"]
            on_train = running_mean.bound(sums, config.samples_per_step)
            common = {"samples_evaluated": row["samples_evaluated"], "seconds": row["seconds"]}
            rows += [{**common, "split": "train", **on_train}, {**row, "split": "test"}]
    columns = ["samples_evaluated", "split", "bound", "bound_se", "reconstruction", "kl", "seconds"]
    return [{name: row[name] for name in columns if name in row} for row in rows]


def _check(config: RunConfig, engine: training.Engine, run: Run) -> None:
    """Raise RecordError unless TensorFlow finds the last bound, too, from the same weights and noise."""
    noise = draws.stream(engine.seed, run.state.step, "evaluation", "test")
    here = evaluation.bound(config, run.state.params, engine.x_eval["test"], noise)
    apart = abs(here["bound"] - run.rows[-1]["bound"]) / here["bound_se"]
    if not apart <= MOST_STANDARD_ERRORS_APART:
        raise RecordError(
            f"{config.run_id}: the bound of the weights is {here['bound']:.3f} nats here and "
            f"{run.rows[-1]['bound']:.3f} where they were trained. Export the run with this version, and train it anew."
        )
