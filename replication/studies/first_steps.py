"""How a run begins: its bound before the weights move, and the mean that is the first dashed point of figure 2."""

from typing import NamedTuple

from replication import data
from replication.config import RunConfig
from replication.runs import running_mean, training
from replication.runs.checkpoints import Run


class Beginning(NamedTuple):
    """The bound on test after the last step, and the mean over the minibatches of all steps [nats per datapoint]."""

    test: float
    mean_on_train: float


def begin(config: RunConfig, n_steps: int) -> Beginning:
    """The first steps of a run, from its initial weights; nothing is written.

    Raises DivergedError where the bound is not finite.
    """
    engine = training.Engine(config, data.load(config.dataset, config.preparation))
    run = Run(engine.initial_state)
    while run.step < n_steps:
        run, _ = engine.advance(run, min(n_steps, running_mean.next_mark(run.step, config.samples_per_step)))
    (test,) = [row["value"] for row in engine.evaluate(run, is_end=False) if row["split"] == "test"]
    return Beginning(test, run.sums[-1].total / n_steps if n_steps else float("nan"))
