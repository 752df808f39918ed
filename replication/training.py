"""The training engine: start reading at `train`."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from replication import algorithms, baselines, checkpoints, data, draws, records
from replication.checkpoints import Run
from replication.config import RunConfig
from replication.errors import DivergedError
from replication.estimators import sgvb_b
from replication.marks import marks

CHUNK_SECONDS = 2.0  # the length of one compiled call: how often progress shows and a failure is seen
CHECKPOINT_SECONDS = 45.0


def train(
    config: RunConfig,
    folder: Path,
    report: Callable[[int, float], None] = lambda samples, bound: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> records.Record:
    """Train up to `config.samples_total`; the record in `folder` is renewed at every mark on the way.

    Continues from the run's checkpoint, to the same bits as an uninterrupted run. `report(samples, bound)` is
    called every few seconds. Raises DivergedError when the bound is not finite; the last checkpoint is kept.
    """
    dataset = data.load(config.dataset)
    engine = Engine(config, dataset)
    run = checkpoints.load(config, engine.initial_state) or Run(engine.initial_state)
    saved_at = time.monotonic()
    for mark in marks(config.samples_total):
        target = math.ceil(mark / config.batch_size)
        while run.step < target:
            run, bound = engine.advance(run, target)
            report(run.step * config.batch_size, bound)
            if time.monotonic() - saved_at > checkpoint_seconds:
                checkpoints.save(config, run)
                saved_at = time.monotonic()
        if run.step == target and not _is_evaluated(config, run):
            run = run._replace(rows=(*run.rows, *engine.evaluate(run)))
            checkpoints.save(config, run)
            records.save(config, run.rows, _facts(config, dataset, run), folder)
    return records.save(config, run.rows, _facts(config, dataset, run), folder)


class Engine:
    """The compiled loop and the evaluation of one configuration on one dataset."""

    def __init__(self, config: RunConfig, dataset: data.Dataset):
        self.config = config
        self.algorithm = algorithms.build(config)
        self.seed = tf.constant(config.seed, tf.int64)
        self.x_train = tf.constant(dataset.x_train[: config.n_train])
        n_eval = min(config.n_train, data.EVAL_TRAIN_SIZE)
        self.x_eval = {"train": self.x_train[:n_eval], "test": tf.constant(dataset.x_test)}
        self.initial_state = self.algorithm.init(self.seed)
        self.steps_per_call = 0

    def advance(self, run: Run, target: int) -> tuple[Run, float]:
        """One compiled call of at most CHUNK_SECONDS towards step `target`; also the mean bound over its minibatches.

        Raises DivergedError, naming the first step whose bound is not finite.
        """
        if not self.steps_per_call:  # compile outside the clock, and learn how long a step takes
            self.run_steps(run.state, 0)
            self.steps_per_call = 10
        n_steps = min(self.steps_per_call, target - run.step)
        start = time.perf_counter()
        state, total, first_bad = self.run_steps(run.state, n_steps)
        total, first_bad = float(total), int(first_bad)
        seconds = time.perf_counter() - start
        if first_bad >= 0:
            raise DivergedError(self._cause(run, first_bad))
        self.steps_per_call = max(10, min(2 * n_steps, int(n_steps * CHUNK_SECONDS / seconds)))
        return run._replace(state=state, seconds=run.seconds + seconds), total / n_steps

    def evaluate(self, run: Run) -> list[dict]:
        """The bound with its standard error over datapoints and its two parts, in nats, on train and test.

        One sample of z per datapoint, the whole test set, the first EVAL_TRAIN_SIZE training datapoints.
        """
        rows = []
        for split, x in self.x_eval.items():
            bound = self._bound(run.state, x)
            elbo = bound.elbo.numpy().astype(np.float64)
            rows.append({
                "samples_evaluated": run.step * self.config.batch_size,
                "split": split,
                "bound": elbo.mean(),
                "bound_se": elbo.std(ddof=1) / len(elbo) ** 0.5,
                "reconstruction": bound.log_px_given_z.numpy().mean(dtype=np.float64),
                "kl": bound.kl.numpy().mean(dtype=np.float64),
                "seconds": run.seconds,
            })  # fmt: skip
        return rows

    def run_steps(self, state: algorithms.State, n_steps: int) -> tuple[algorithms.State, tf.Tensor, tf.Tensor]:
        """`n_steps` compiled steps: the new state, the sum of the mean bounds, the first bad step or -1."""
        return self._compiled_steps(state, self.x_train, tf.constant(n_steps, tf.int64))

    @tf.function(jit_compile=True)
    def _compiled_steps(self, state, x_train, n_steps):
        end = state.step + n_steps

        def body(state, total, first_bad):
            minibatch = draws.stream(self.seed, state.step, "minibatch")
            x = tf.gather(x_train, draws.indices(minibatch, self.config.n_train, self.config.batch_size))
            next_state, bound = self.algorithm.step(state, x, self.seed)
            elbo = tf.reduce_mean(bound.elbo)
            is_first_bad = (first_bad < 0) & ~tf.math.is_finite(elbo)
            return next_state, total + elbo, tf.where(is_first_bad, state.step, first_bad)

        initial = (state, tf.constant(0.0), tf.constant(-1, tf.int64))
        return tf.while_loop(lambda state, *_: state.step < end, body, initial)

    @tf.function(jit_compile=True)
    def _bound(self, state, x):
        eps_shape = [1, x.shape[0], self.config.n_latent]
        eps = draws.normal(draws.stream(self.seed, state.step, "evaluation"), eps_shape)
        return sgvb_b(state.params, x, eps)

    def _cause(self, run: Run, first_bad: int) -> str:
        return (
            f"{self.config.run_id}: the bound is not finite at step {first_bad} "
            f"({first_bad * self.config.batch_size:,} samples). The likely cause is the stepsize "
            f"({self.config.learning_rate}): try a smaller learning_rate, or warm_up_steps=100. "
            f"The last good checkpoint (at most step {run.step}) is kept at {checkpoints.path(self.config)}."
        )


def use_one_core() -> None:
    """One thread per run, since runs go side by side; to be called before TensorFlow computes anything."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def _is_evaluated(config: RunConfig, run: Run) -> bool:
    return bool(run.rows) and run.rows[-1]["samples_evaluated"] == run.step * config.batch_size


def _facts(config: RunConfig, dataset: data.Dataset, run: Run) -> dict:
    """What a record says beside configuration and curve."""
    gpus = tf.config.list_physical_devices("GPU")
    facts = {
        "device": tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "CPU",
        "seconds": round(run.seconds, 1),
    }
    if config.facts.likelihood == "gaussian":
        splits = {"train": dataset.x_train, "test": dataset.x_test}
        facts["independent_gaussian"] = {
            split: round(baselines.independent_gaussian(dataset.x_train, x).mean(), 2) for split, x in splits.items()
        }
    return facts
