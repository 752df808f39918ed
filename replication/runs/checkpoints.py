"""A run in progress on disk: the whole state, so that it resumes to the same bits."""

import ast
import importlib.metadata
import json
import math
import sys
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from replication import paths
from replication.algorithms import State
from replication.config import RunConfig
from replication.errors import RecordError
from replication.files import DAMAGED, locked, sha256, write_atomically
from replication.runs import provenance
from replication.runs.running_mean import START, Sums

# What decides the numbers of a run: change any of it, and a checkpoint starts anew.
SOURCE = (
    "__init__.py",
    "compiled.py",
    "config.py",
    "data.py",
    "draws.py",
    "model/*.py",
    "algorithms/*.py",
    "runs/training.py",
    "runs/evaluation.py",
    "runs/points.py",
    "runs/running_mean.py",
)


class Run(NamedTuple):
    """A run so far: its state, its curve (a dict per evaluation point and split), and how it came about.

    `sums` are of the objective, the last up to now: the curve's running mean on train is taken from them. `seconds`
    were spent on steps. `contributors` are the commits and machines that computed it, each with the samples from which
    it did.
    """

    state: State
    rows: tuple[dict, ...] = ()
    sums: tuple[Sums, ...] = START
    seconds: float = 0.0
    contributors: tuple[dict, ...] = ()

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.state.step)


def path(config: RunConfig) -> Path:
    """Where the run's checkpoint by this code lies; that of other code has another name, and stays."""
    return paths.cache() / "checkpoints" / f"{config.run_id}-{fingerprint()[:8]}.npz"


def lock(config: RunConfig) -> AbstractContextManager[None]:
    """Held by the one process that trains the run; others wait."""
    return locked(path(config))


def save(config: RunConfig, run: Run) -> None:
    """Replace the run's checkpoint, unless it is further along; raises RecordError when the disk refuses."""
    if _is_further(path(config), run):
        return
    leaves = {f"leaf_{i}": leaf.numpy() for i, leaf in enumerate(tf.nest.flatten(run.state))}
    progress = json.dumps({
        "config": config.model_dump(), "step": run.step, "rows": run.rows, "sums": run.sums, "seconds": run.seconds,
        "contributors": run.contributors,
    })  # fmt: skip

    def write(file: Path) -> None:
        with file.open("wb") as stream:
            np.savez(stream, progress=progress, **leaves)

    target = path(config)
    write_atomically(target, write)
    for left in target.parent.glob(f".{target.name}.*.tmp"):  # by a writer that was killed
        left.unlink()


def load(config: RunConfig, like: State) -> Run | None:
    """The run's checkpoint, or None where there is none that leads to `config.samples_total`; a line says why.

    A checkpoint of other code, or from beyond `samples_total`, is left alone. One that is damaged, or of another
    configuration, is set aside under another name.
    """
    file = path(config)
    if not file.exists():
        for other in sorted(file.parent.glob(f"{config.run_id}-*.npz")):
            _say(config, other, "was made by other code or other package versions, and is kept")
        return None
    try:
        progress = _progress(file)
        if differences := config.differences(progress["config"]):
            _set_aside(config, file, f"is of another run ({differences})")
            return None
        if reason := _beyond(config, progress):
            _say(config, file, reason)
            return None
        with np.load(file) as content:
            leaves = [tf.constant(content[f"leaf_{i}"]) for i in range(len(tf.nest.flatten(like)))]
        state = tf.nest.pack_sequence_as(like, leaves)
        sums = tuple(Sums(*sums) for sums in progress["sums"])
        return Run(state, tuple(progress["rows"]), sums, progress["seconds"], tuple(progress["contributors"]))
    except DAMAGED as error:
        _set_aside(config, file, f"is damaged ({error})")
        return None


@cache
def fingerprint() -> str:
    """The hash of the source that decides a run's numbers, comments and docstrings aside, and of the packages."""
    parts = [_code(file.read_text(encoding="utf-8")) for file in sources()]
    parts += [importlib.metadata.version(name) for name in provenance.PACKAGES]
    return sha256("\n".join(parts).encode())


def sources() -> list[Path]:
    """The files that decide a run's numbers."""
    package = Path(__file__).parent.parent
    return sorted(file for pattern in SOURCE for file in package.glob(pattern))


def _code(source: str) -> str:
    """The source as Python reads it: without comments, layout and docstrings."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _is_further(file: Path, run: Run) -> bool:
    try:
        return file.exists() and _progress(file)["step"] > run.step
    except DAMAGED as error:
        raise RecordError(f"The checkpoint {file} is damaged ({error}). Delete it, then run again.") from error


def _say(config: RunConfig, file: Path, reason: str) -> None:
    print(f"{config.run_id} starts anew: its checkpoint {file} {reason}.", file=sys.stderr)


def _set_aside(config: RunConfig, file: Path, reason: str) -> None:
    kept = file.with_name(f"{file.name}.unusable")
    file.replace(kept)
    _say(config, file, f"{reason}, and is kept as {kept.name}")


def _beyond(config: RunConfig, progress: dict) -> str:
    """Why a checkpoint does not lead to `config.samples_total`; empty where it does."""
    if progress["step"] <= math.ceil(config.samples_total / config.samples_per_step):
        return ""
    samples = progress["step"] * config.samples_per_step
    return (
        f"is at {samples:,} samples, beyond the {config.samples_total:,} that are asked for, and is kept "
        "(the shorter run saves none)"
    )


def _progress(file: Path) -> dict:
    """What a checkpoint says of itself; raises one of DAMAGED for strange content, RecordError where it is not read."""
    try:
        with np.load(file) as content:
            return json.loads(str(content["progress"]))
    except OSError as error:
        reason = error.strerror or error
        raise RecordError(f"The checkpoint {file} cannot be read: {reason}. Make it readable, or delete it.") from error
