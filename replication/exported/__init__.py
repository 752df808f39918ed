"""Runs that another machine trains: one that has JAX and a GPU, but not TensorFlow, and perhaps no network.

`write` compiles a run's steps as the engine does and saves the program (StableHLO, the language of XLA) with all that
it needs. `runner.py` goes along and trains there with numpy and JAX alone. `collect` makes records of what came
back. Nothing is written twice: the steps, their noise and the bound are those of this package, and so is the order of
the evaluation points; XLA for the other processor rounds in another way.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from replication.config import RunConfig
from replication.errors import RecordError, ReplicationError
from replication.exported import runner
from replication.files import DAMAGED, explained
from replication.paper.profiles import PROFILES
from replication.progress import bar
from replication.runs.elsewhere import Record, RunElsewhere, Trained, can_be_trained

# Counters that TensorFlow puts into the names of functions: `while_cond_2095_const_0__.3` and the like.
COUNTER = re.compile(r"(@[A-Za-z_]*?)_\d+(?=[_.])")
SAME_PRECISION = ("precision = [DEFAULT, DEFAULT]", "precision = [HIGHEST, HIGHEST]")  # or a GPU multiplies in TF32


def write(configs: Iterable[RunConfig], folder: Path, profile: str) -> list[RunConfig]:
    """Save the programs of the runs of a profile that can go, with the runner, in a new folder; returns these runs.

    They start from their first step. Only a run whose curve is the bound can go: the estimates of log p(x) need more
    than one program. Raises ReplicationError where there is none, the folder exists, or the disk refuses.
    """
    configs = list(configs)
    runs = [config for config in configs if can_be_trained(config)]
    if not runs:
        why = "only a curve of the bound is one program" if configs else "none is left to be trained"
        raise ReplicationError(f"No run can be exported: {why}. Other runs: --reading, --seed, --only.")
    if os.path.lexists(folder):
        raise ReplicationError(f"{folder} exists already: collect what is in it, or choose another folder.")
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write(runs, folder, profile)
    return runs


def _write(runs: Sequence[RunConfig], folder: Path, profile: str) -> None:
    """Fill a folder beside the one that is wanted, then rename it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        unfinished = Path(temporary) / "exported"
        (unfinished / runner.PROGRAMS).mkdir(parents=True)
        arrays: dict[str, np.ndarray] = {}
        jobs = []
        with bar(len(runs), "run") as progress:
            for config in runs:
                jobs.append({"profile": profile, **_job(RunElsewhere(config), unfinished, arrays)})
                progress.update()
        np.savez_compressed(unfinished / runner.ARRAYS, **cast(dict[str, Any], arrays))
        (unfinished / runner.JOBS).write_text(json.dumps(jobs), encoding="utf-8")
        shutil.copy(runner.__file__, unfinished / "runner.py")
        unfinished.replace(folder)


def profile_of(folder: Path) -> str:
    """The profile whose runs were exported; raises RecordError where the folder is none that this `write` made."""
    profile = next((job.get("profile") for job in _jobs(folder)), None)
    if profile not in list(PROFILES):
        raise RecordError(
            f"{folder} says no profile that is known here, another version exported it: export and train anew."
        )
    return profile


def collect(folder: Path, records_folder: Path) -> list[Record]:
    """Make records of the runs that the runner trained, as far as it came.

    Raises RecordError at the end for those that diverged, are damaged, or are of another version of the engine, and
    where TensorFlow does not find the last bound again.
    """
    collected, problems = [], []
    for job in _jobs(folder):
        file = folder / runner.TRAINED / f"{job['run_id']}.npz"
        try:
            record = _collect(job, file, records_folder) if file.exists() else None
        except (RecordError, OSError, *DAMAGED) as error:
            problems.append(f"{job['run_id']}: {error}")
            continue
        collected += [record] if record else []
    if problems:
        raise RecordError("\n".join([f"Runs recorded: {len(collected)}. These are not:", *problems]))
    if not collected:
        raise RecordError(f"No run in {folder} has come to an evaluation point: start `python3 runner.py` there first.")
    return collected


def _jobs(folder: Path) -> list[dict[str, Any]]:
    """What `write` saved of each run, in the form of `_job`."""
    try:
        jobs = {job["run_id"]: job for job in json.loads((folder / runner.JOBS).read_text(encoding="utf-8"))}
    except OSError as error:
        raise RecordError(f"{folder} is no exported folder: no {runner.JOBS} can be read in it.") from error
    except DAMAGED as error:
        raise RecordError(f"{folder / runner.JOBS} is damaged ({error}): copy the exported one.") from error
    return list(jobs.values())


def _job(run: RunElsewhere, folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the runner needs to know of one run; its arrays are added to `arrays`, those of equal content once."""
    task = run.task()

    def keep(array: np.ndarray) -> str:
        name = hashlib.sha256(array.tobytes() + str(array.shape).encode()).hexdigest()[:16]
        arrays[name] = array
        return name

    def save(program: str) -> str:
        program = _as_exported(program)
        (folder / runner.PROGRAMS / _name(program)).write_text(program, encoding="utf-8")
        return _name(program)

    return {
        "run_id": run.config.run_id,
        "config": run.config.model_dump(),
        "steps": save(task.steps),
        "bound": save(task.bound),
        "state": [keep(leaf) for leaf in task.state],
        "n_params": task.n_params,
        "x_train": keep(task.x_train),
        "x_test": keep(task.x_test),
        "seed": run.config.seed,
        "samples_per_step": run.config.samples_per_step,
        "points": task.noise,
        "marks": task.marks,
        "environment": task.environment,
    }


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


def _collect(job: dict[str, Any], file: Path, records_folder: Path) -> Record | None:
    """The record of one run; None where it was stopped before its first evaluation point."""
    with np.load(file) as content:
        progress = json.loads(str(content["progress"]))
        if progress["first_bad"] >= 0:
            raise RecordError(f"diverged at step {progress['first_bad']}: try a smaller learning_rate.")
        if not progress["rows"]:
            return None
        params = [content[f"evaluated_{i}"] for i in range(job["n_params"])]
    run = RunElsewhere(RunConfig(**job["config"]))
    if _name(_as_exported(run.steps_program())) != job["steps"]:
        raise RecordError("another version of the engine exported it: export and train it anew.")
    contributors = [
        {**job["environment"], **each, "packages": {**job["environment"]["packages"], **each["packages"]}}
        for each in progress["contributors"]
    ]
    return run.save_record(Trained(progress["rows"], progress["sums"], params, contributors), records_folder)
