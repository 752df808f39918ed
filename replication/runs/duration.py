"""How long training will take, said before it begins: training samples over the speed of recorded runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from replication import paths
from replication.config import LEFT_OUT_OF_NAMES, RunConfig
from replication.errors import ReplicationError
from replication.runs import device, parallel, records
from replication.runs.points import evaluation_points

ALIKE = ("dataset", "algorithm", "n_hidden", "metric", "batch_size", "n_mc_samples", "samples_counted")  # for speed
# What the seconds of a record leave out, in seconds of an EPYC's core: what comes before a run's first step, and an
# evaluation point: that of log p(x) on 1000 datapoints of each split. The search for the modes of p(z|x) makes it long.
START = 15
EVALUATION = {"bound": 1, "log_px": 24}
UNITS = ((3600, "hours"), (60, "minutes"), (1, "seconds"))


def in_words(configs: Sequence[RunConfig], folder: Path) -> str:
    """How long it takes to train these runs up to their ends, as far as recorded runs tell, as a sentence.

    The speed is that of runs of the same kind in `folder`, else of those at paper scale, on the processors they had.
    """
    n_workers = min(device.runs_side_by_side(), len(configs))
    lead = f"To be trained: {parallel.counted(len(configs), 'run')}, {n_workers} at a time."
    seconds = [_seconds(config, folder) for config in configs]
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return f"{lead} How long that takes is shown as they go: no recorded run is like them."
    about = max(*known, sum(known) / n_workers)
    return f"{lead} At the speed of recorded runs that takes about {_rounded(about)}."


def _seconds(config: RunConfig, folder: Path) -> float | None:
    """What is left of a run, in seconds of a core; None where no recorded run is like it."""
    speeds = _speeds(config, folder) or _speeds(config, paths.runs("paper"))
    if not speeds:
        return None
    record = records.load(config, folder)
    begin = record.samples_evaluated if record else 0
    points = [point for point in evaluation_points(config.metric, config.samples_total) if point > begin]
    return (
        START
        + (config.samples_total - begin) / median(speeds)
        + len(points) * EVALUATION[config.metric] * config.n_evaluated / 1000
    )


def _speeds(config: RunConfig, folder: Path) -> list[float]:
    """Training samples per second of every recorded run like this one that no GPU trained."""
    name = f"{config.dataset}-{config.algorithm}-".replace("_", "-")
    speeds = []
    for file in folder.glob(f"{name}*/{records.INDEX}"):
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            other = RunConfig(**{**LEFT_OUT_OF_NAMES, **stored["config"]})
            is_alike = all(getattr(other, setting) == getattr(config, setting) for setting in ALIKE)
            on_a_core = all(each.get("device", "CPU") == "CPU" for each in stored["contributors"])
            if is_alike and on_a_core and stored["seconds"]:
                record = records.require(other, folder)
                speeds.append(record.samples_evaluated / record.facts["seconds"])
        except (ReplicationError, ValueError, KeyError, TypeError, AttributeError):
            continue  # damaged, or of another version: whoever needs that run itself is told so
    return speeds


def _rounded(seconds: float) -> str:
    """A duration in the largest unit of which there are two."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= 2 * size), UNITS[-1])
    return f"{round(seconds / size)} {unit}"
