"""A run that another machine trains: what that machine must know of it, and the record of what came back."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from replication import draws
from replication.config import RunConfig
from replication.errors import RecordError
from replication.runs import evaluation, provenance, running_mean, training
from replication.runs.checkpoints import Run
from replication.runs.points import evaluation_points
from replication.runs.records import Record

# What the bound of the returned weights may differ by when TensorFlow evaluates it here, in its standard errors.
MOST_STANDARD_ERRORS_APART = 0.05
COLUMNS = ("samples_evaluated", "split", "measure", "value", "se", "reconstruction", "kl", "seconds")


def can_be_trained(config: RunConfig) -> bool:
    """Whether the run can go: its curve must be the bound, since the estimates of log p(x) need more than a program."""
    return evaluation.trains_on_its_bound(config)


class Task(NamedTuple):
    """What a machine needs to train a run without this package: programs of StableHLO, and arrays.

    `noise` has the seed pair of the evaluation at the step of each evaluation point; the sums of the objective are to
    be kept at the steps `marks`. The parameters are the `n_params` arrays after the first of the state, its step.
    `environment` says what made the programs.
    """

    steps: str
    bound: str
    state: list[np.ndarray]
    n_params: int
    x_train: np.ndarray
    x_test: np.ndarray
    noise: dict[int, list[int]]
    marks: list[int]
    environment: dict


class Trained(NamedTuple):
    """What came back: the state of the run at its last evaluation, and how it came there.

    `rows` have the values on test by `step`, `sums` are those of the objective at every mark and point, `params` those
    at the last row, `contributors` the machines.
    """

    rows: Sequence[Mapping[str, Any]]
    sums: Sequence[tuple[int, float, float]]
    params: Sequence[np.ndarray]
    contributors: Sequence[Mapping[str, Any]]


class RunElsewhere:
    """A run as this engine compiles it, for another machine to train."""

    def __init__(self, config: RunConfig):
        self.config = config
        self._dataset = training.dataset(config.dataset, config.preparation)
        self._engine = training.Engine(config, self._dataset)

    def steps_program(self) -> str:
        """The program of its steps."""
        return self._engine.steps_program()

    def task(self) -> Task:
        """What the other machine needs."""
        config, engine = self.config, self._engine
        params, x_test = engine.initial_state.params, engine.x_eval["test"]
        ends = evaluation_points(config.metric, config.samples_total)
        points = [math.ceil(n / config.samples_per_step) for n in ends]
        return Task(
            self.steps_program(),
            evaluation.bound_program(config, params, x_test),
            [leaf.numpy() for leaf in tf.nest.flatten(engine.initial_state)],
            len(tf.nest.flatten(params)),
            engine.x_train.numpy(),
            x_test.numpy(),
            {step: self._noise(step, "test").numpy().tolist() for step in points},
            _marks(points[-1], config.samples_per_step),
            provenance.environment(),
        )

    def save_record(self, trained: Trained, folder: Path) -> Record:
        """Write the record of what came back; raises RecordError where the last bound is not found again here."""
        state, last = self._engine.initial_state, trained.rows[-1]
        params = tf.nest.pack_sequence_as(state.params, [tf.constant(leaf) for leaf in trained.params])
        run = Run(
            state._replace(step=tf.constant(last["step"], tf.int64), params=params),
            tuple(_rows(self.config, trained)),
            seconds=last["seconds"],
            contributors=tuple(dict(each) for each in trained.contributors),
        )
        self._check(run)
        if run.step * self.config.samples_per_step >= self.config.samples_total:
            run = run._replace(rows=self._with_train_at_the_end(run))
        return training.save_record(self.config, self._dataset, run, folder)

    def _noise(self, step: int, split: str) -> tf.Tensor:
        return draws.stream(self._engine.seed, step, "evaluation", split)

    def _bound(self, run: Run, split: str) -> dict[str, float]:
        return evaluation.bound(self.config, run.state.params, self._engine.x_eval[split], self._noise(run.step, split))

    def _with_train_at_the_end(self, run: Run) -> tuple[dict, ...]:
        """The rows with the model evaluated on train, as the engine has them at the end of a run."""
        *earlier, on_test = run.rows
        return (*earlier, {**on_test, "split": "train", **self._bound(run, "train")}, on_test)

    def _check(self, run: Run) -> None:
        here, there = self._bound(run, "test"), run.rows[-1]["value"]
        if not abs(here["value"] - there) / here["se"] <= MOST_STANDARD_ERRORS_APART:
            raise RecordError(
                f"the bound of the weights is {here['value']:.3f} nats here and {there:.3f} where they were trained: "
                "the file is not what the runner wrote, or the other machine does not compute as this one."
            )


def _marks(end: int, samples_per_step: int) -> list[int]:
    """The steps whose sums the running mean on train may need."""
    marks = [running_mean.next_mark(0, samples_per_step)]
    while marks[-1] < end:
        marks.append(running_mean.next_mark(marks[-1], samples_per_step))
    return marks[:-1]


def _rows(config: RunConfig, trained: Trained) -> list[dict]:
    """The curve as the engine would have written it."""
    of_test = {row["step"]: row for row in trained.rows}
    rows: list[dict] = []
    sums: tuple[running_mean.Sums, ...] = running_mean.START
    for step, total, squared in trained.sums[1:]:
        sums = running_mean.append(sums, running_mean.Sums(step, total, squared), config.samples_per_step)
        if step in of_test:
            on_test = of_test[step]
            common = {"samples_evaluated": step * config.samples_per_step, "seconds": on_test["seconds"]}
            on_train = running_mean.bound(sums, config.samples_per_step)
            rows.append({**common, "split": "train", "measure": "running_mean", **on_train})
            rows.append({**on_test, **common, "split": "test", "measure": "evaluated"})
    return [{name: row[name] for name in COLUMNS if name in row} for row in rows]
