"""A run in progress on disk: the whole state, so that it resumes to the same bits."""

import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from replication import paths
from replication.algorithms import State
from replication.config import RunConfig
from replication.errors import RecordError
from replication.files import write_atomically

# Raise it with every change to what a step computes: older checkpoints are then left alone.
ENGINE_VERSION = 1


class Run(NamedTuple):
    """The state of a run, its curve so far (one dict per mark and split) and the seconds spent on steps."""

    state: State
    rows: tuple[dict, ...] = ()
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.state.step)


def path(config: RunConfig) -> Path:
    """Where the run's checkpoint lies."""
    return paths.cache() / "checkpoints" / f"v{ENGINE_VERSION}" / f"{config.run_id}.npz"


def save(config: RunConfig, run: Run) -> None:
    """Replace the run's checkpoint; raises RecordError when the disk refuses."""
    leaves = {f"leaf_{i}": leaf.numpy() for i, leaf in enumerate(tf.nest.flatten(run.state))}
    progress = json.dumps({"rows": run.rows, "seconds": run.seconds})

    def write(file: Path) -> None:
        with file.open("wb") as stream:
            np.savez(stream, progress=progress, **leaves)

    write_atomically(path(config), write)


def load(config: RunConfig, like: State) -> Run | None:
    """The run's checkpoint, or None where there is none; raises RecordError for a damaged one."""
    file = path(config)
    if not file.exists():
        return None
    try:
        with np.load(file) as content:
            leaves = [content[f"leaf_{i}"] for i in range(len(tf.nest.flatten(like)))]
            progress = json.loads(str(content["progress"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(
            f"The checkpoint {file} is damaged ({error}). Delete it: the run then starts anew."
        ) from error
    state = tf.nest.pack_sequence_as(like, [tf.constant(leaf) for leaf in leaves])
    return Run(state, tuple(progress["rows"]), progress["seconds"])
