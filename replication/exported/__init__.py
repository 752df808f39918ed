"""Runs that another machine trains: one that has JAX and a GPU, but not TensorFlow, and perhaps no network.

`write` compiles a run's steps as the engine does and saves the program (StableHLO, the language of XLA) with all that
it needs. `runner.py` goes along and trains there with numpy and JAX alone. `collect` makes records of what came
back. Nothing is written twice: the steps, their noise and the bound are those of this package, and so is the order of
the evaluation points; XLA for the other processor rounds in another way.
"""

import hashlib
import json
import math
import re
import shutil
import tempfile
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
from replication.runs import checkpoints, evaluation, provenance, records, running_mean, training
from replication.runs.checkpoints import Run
from replication.runs.points import evaluation_points

# What the bound of the returned weights may differ by when TensorFlow evaluates it here, in its standard errors.
MOST_STANDARD_ERRORS_APART = 0.05
# Counters that TensorFlow puts into the names of functions: `while_cond_2095_const_0__.3` and the like.
COUNTER = re.compile(r"(@[A-Za-z_]*?)_\d+(?=[_.])")
SAME_PRECISION = ("precision = [DEFAULT, DEFAULT]", "precision = [HIGHEST, HIGHEST]")  # or a GPU multiplies in TF32


def write(configs: Iterable[RunConfig], folder: Path) -> list[RunConfig]:
    """Save the programs of the runs that can go, with the runner, in a new folder; returns these runs.

    They start from their first step. Only a run whose curve is the bound can go: the estimates of log p(x) need more
    than one program. Raises ReplicationError where there is none, or the folder exists.
    """
    configs = list(configs)
    runs = [config for config in configs if evaluation.trains_on_its_bound(config)]
    if not runs:
        why = "only a curve of the bound is one program" if configs else "none is left to be trained"
        raise ReplicationError(f"No run can be exported: {why}. Other runs: --reading, --seed, --only.")
    if folder.exists():
        raise ReplicationError(f"{folder} exists already: collect what is in it, or choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        unfinished = Path(temporary) / "exported"
        (unfinished / runner.PROGRAMS).mkdir(parents=True)
        arrays: dict[str, np.ndarray] = {}
        environment, jobs = provenance.environment(), []
        with bar(len(runs), "runs") as progress:
            for config in runs:
                jobs.append({**_job(config, unfinished, arrays), "environment": environment})
                progress.update()
        np.savez_compressed(unfinished / runner.ARRAYS, **cast(dict[str, Any], arrays))
        (unfinished / runner.JOBS).write_text(json.dumps(jobs), encoding="utf-8")
        shutil.copy(runner.__file__, unfinished / "runner.py")
        unfinished.replace(folder)
    return runs


def collect(folder: Path, records_folder: Path) -> list[records.Record]:
    """Make records of the runs that the runner trained, as far as it came.

    Raises RecordError at the end for those that diverged, are damaged, or are of another version of the engine, and
    where TensorFlow does not find the last bound again.
    """
    if not (folder / runner.JOBS).exists():
        raise RecordError(f"{folder} is no exported folder: it has no {runner.JOBS}.")
    jobs = json.loads((folder / runner.JOBS).read_text(encoding="utf-8"))
    found, problems = [], []
    for job in jobs:
        file = folder / runner.TRAINED / f"{job['run_id']}.npz"
        try:
            record = _collect(job, file, records_folder) if file.exists() else None
        except (RecordError, *checkpoints.DAMAGED) as error:
            problems.append(f"{job['run_id']}: {error}")
            continue
        found += [record] if record else []
    if problems:
        raise RecordError("\n".join([f"{len(found)} runs are recorded; these are not:", *problems]))
    if not found:
        raise RecordError(f"No run in {folder} has come to an evaluation point: start `python3 runner.py` there first.")
    return found


def _job(config: RunConfig, folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the runner needs to know of one run; its arrays are added to `arrays`, those of equal content once."""
    engine = training.Engine(config, data.load(config.dataset, config.preparation))
    params = engine.initial_state.params
    per_step = config.samples_per_step
    points = [math.ceil(n / per_step) for n in evaluation_points(config.metric, config.samples_total)]
    noise = [draws.stream(engine.seed, step, "evaluation", "test").numpy().tolist() for step in points]

    def keep(array: tf.Tensor) -> str:
        name = hashlib.sha256(array.numpy().tobytes() + str(array.shape).encode()).hexdigest()[:16]
        arrays[name] = array.numpy()
        return name

    def save(program: str) -> str:
        (folder / runner.PROGRAMS / _name(program)).write_text(program, encoding="utf-8")
        return _name(program)

    return {
        "run_id": config.run_id,
        "config": config.model_dump(),
        "steps": save(_steps(engine)),
        "bound": save(_as_exported(evaluation.bound_program(config, params, engine.x_eval["test"]))),
        "state": [keep(leaf) for leaf in tf.nest.flatten(engine.initial_state)],
        "n_params": len(tf.nest.flatten(params)),
        "x_train": keep(engine.x_train),
        "x_test": keep(engine.x_eval["test"]),
        "seed": config.seed,
        "samples_per_step": per_step,
        "points": dict(zip(points, noise, strict=True)),
        "marks": _marks(points[-1], per_step),
    }


def _steps(engine: training.Engine) -> str:
    return _as_exported(engine.steps_program())


def _as_exported(program: str) -> str:
    """The program in full single precision, without what differs from one compilation to the next.

    A GPU would multiply in TF32 otherwise. Raises ReplicationError where the text is not what it was.
    """
    program = re.sub(r" loc\(#loc\d*\)", "", re.sub(r"^#loc.*\n", "", program, flags=re.MULTILINE))
    program = COUNTER.sub(r"\1", program).replace(*SAME_PRECISION)
    if program.count(SAME_PRECISION[1]) != len(re.findall(r"stablehlo\.dot\b|stablehlo\.dot_general\b", program)):
        raise ReplicationError(
            "A product in the exported program has another precision than is known: see SAME_PRECISION."
        )
    return program


def _name(program: str) -> str:
    return f"{hashlib.sha256(program.encode()).hexdigest()[:16]}.mlir"


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
            raise RecordError(f"diverged at step {progress['first_bad']}: try a smaller learning_rate.")
        if not progress["rows"]:
            return None
        params = [tf.constant(content[f"evaluated_{i}"]) for i in range(job["n_params"])]
    dataset = data.load(config.dataset, config.preparation)
    engine = training.Engine(config, dataset)
    if _name(_steps(engine)) != job["steps"]:
        raise RecordError("another version of the engine exported it: export and train it anew.")
    step = tf.constant(progress["rows"][-1]["step"], tf.int64)
    params = tf.nest.pack_sequence_as(engine.initial_state.params, params)
    contributors = tuple(
        {**job["environment"], **each, "packages": {**job["environment"]["packages"], **each["packages"]}}
        for each in progress["contributors"]
    )
    run = Run(
        engine.initial_state._replace(step=step, params=params),
        tuple(_rows(config, progress)),
        seconds=progress["rows"][-1]["seconds"],
        contributors=contributors,
    )
    _check(config, engine, run)
    if step * config.samples_per_step >= config.samples_total:
        run = run._replace(rows=_with_train_at_the_end(config, engine, run))
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
            rows.append({**common, "split": "train", "measure": "running_mean", **on_train})
            rows.append({**row, "split": "test", "measure": "evaluated"})
    columns = ["samples_evaluated", "split", "measure", "value", "se", "reconstruction", "kl", "seconds"]
    return [{name: row[name] for name in columns if name in row} for row in rows]


def _with_train_at_the_end(config: RunConfig, engine: training.Engine, run: Run) -> tuple[dict, ...]:
    """The rows with the model evaluated on train, as the engine has them at the end of a run."""
    *earlier, on_test = run.rows
    noise = draws.stream(engine.seed, run.state.step, "evaluation", "train")
    on_train = evaluation.bound(config, run.state.params, engine.x_eval["train"], noise)
    return (*earlier, {**on_test, "split": "train", **on_train}, on_test)


def _check(config: RunConfig, engine: training.Engine, run: Run) -> None:
    """Raise RecordError unless TensorFlow finds the last bound, too, from the same weights and noise."""
    noise = draws.stream(engine.seed, run.state.step, "evaluation", "test")
    here = evaluation.bound(config, run.state.params, engine.x_eval["test"], noise)
    apart = abs(here["value"] - run.rows[-1]["value"]) / here["se"]
    if not apart <= MOST_STANDARD_ERRORS_APART:
        raise RecordError(
            f"the bound of the weights is {here['value']:.3f} nats here and {run.rows[-1]['value']:.3f} where they "
            "were trained: the file is not what the runner wrote, or the other machine does not compute as this one."
        )
