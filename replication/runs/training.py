"""The training engine: start reading at `train`."""

import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import tensorflow as tf

from replication import algorithms, data, draws
from replication.compiled import compiled
from replication.config import RunConfig
from replication.errors import DivergedError, EstimatorError
from replication.model import baselines, latent, networks
from replication.runs import checkpoints, device, evaluation, provenance, records, running_mean
from replication.runs.checkpoints import Run
from replication.runs.points import evaluation_points, grid

CHUNK_SECONDS = 2.0  # the length of one compiled call: how often progress shows and a failure is seen
CHECKPOINT_SECONDS = 45.0


def train(
    config: RunConfig,
    folder: Path,
    report: Callable[[int, float], None] = lambda samples, bound: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> records.Record:
    """Train up to `config.samples_total`; the record in `folder` is renewed at every evaluation point on the way.

    Continues from the run's checkpoint, to the same bits as an uninterrupted run; where the record is complete there is
    nothing to do. While another process trains the same run, waits for it. `report(samples, bound)` is called every few
    seconds. Raises DivergedError when the state or an evaluation is not finite; the last checkpoint is kept.
    """
    with checkpoints.lock(config):
        if records.is_complete(config, folder):
            return records.require(config, folder)
        return _train(config, folder, report, checkpoint_seconds)


def _train(
    config: RunConfig, folder: Path, report: Callable[[int, float], None], checkpoint_seconds: float
) -> records.Record:
    images = dataset(config.dataset, config.preparation)
    engine = Engine(config, images)
    run = checkpoints.load(config, engine.initial_state) or Run(engine.initial_state)
    run = run._replace(rows=_without_an_earlier_end(config, run))
    saved_at, record, here = time.monotonic(), None, _here()
    for point in evaluation_points(config.metric, config.samples_total):
        target = math.ceil(point / config.samples_per_step)
        is_end = point == config.samples_total
        while run.step < target:
            mark = running_mean.next_mark(run.step, config.samples_per_step)
            run, objective = engine.advance(_with_contributor(config, run, here), min(target, mark))
            report(run.step * config.samples_per_step, objective)
            if time.monotonic() - saved_at > checkpoint_seconds:
                checkpoints.save(config, run)
                saved_at = time.monotonic()
        if run.step == target and not _is_evaluated(config, run, is_end):
            run = _with_contributor(config, run, here)
            run = run._replace(rows=(*_before(config, run), *engine.evaluate(run, is_end)))
            checkpoints.save(config, run)
            record = save_record(config, images, run, folder)
    return record or save_record(config, images, run, folder)


class Engine:
    """The compiled loop and the evaluation of one configuration on one dataset."""

    def __init__(self, config: RunConfig, dataset: data.Dataset):
        self.config = config
        self.seed = tf.constant(config.seed, tf.int64)
        self.x_train = tf.constant(dataset.x_train[: config.n_train])
        self.x_eval = evaluation.datapoints(config, dataset._replace(x_train=self.x_train))
        self.initial_state = algorithms.build(config).init(self.seed)
        self.steps_per_call = 0
        self._compiled_steps = _compiled_steps(config.replace(seed=0, samples_total=1))

    def advance(self, run: Run, target: int) -> tuple[Run, float]:
        """One compiled call of some CHUNK_SECONDS towards step `target`; also the mean objective over its steps.

        Raises DivergedError, naming the first step of which the objective or the update is not finite.
        """
        if not self.steps_per_call:
            self.run_steps(run.state, 0)  # compiles outside the clock
            self.steps_per_call = 1
        n_steps = min(self.steps_per_call, target - run.step)
        start = time.perf_counter()
        state, (total, squared), first_bad = self.run_steps(run.state, n_steps, run.sums[-1][1:])
        sums = running_mean.Sums(run.step + n_steps, float(total), float(squared))
        seconds = time.perf_counter() - start
        bad_steps = [int(first_bad)] if first_bad >= 0 else []
        if not _is_finite(state):
            bad_steps.append(self._first_bad_update(run, n_steps))
        if bad_steps:
            step = min(bad_steps)
            what = "the bound" if step == first_bad else "the update"
            raise self._diverged(f"{what} is not finite at step {step}", step)
        self.steps_per_call = max(1, min(10 * n_steps, int(n_steps * CHUNK_SECONDS / seconds)))
        objective = (sums.total - run.sums[-1].total) / n_steps
        sums_so_far = running_mean.append(run.sums, sums, self.config.samples_per_step)
        return run._replace(state=state, sums=sums_so_far, seconds=run.seconds + seconds), objective

    def _first_bad_update(self, run: Run, n_steps: int) -> int:
        """The step of the first of the next updates that is not finite, by halving: it does not depend on `n_steps`.

        Adagrad's sums may overflow many steps before the objective does.
        """
        n_good, n_bad = 0, n_steps
        while n_bad - n_good > 1:
            middle = (n_good + n_bad) // 2
            state, *_ = self.run_steps(run.state, middle)
            n_good, n_bad = (middle, n_bad) if _is_finite(state) else (n_good, middle)
        return run.step + n_good

    def evaluate(self, run: Run, is_end: bool) -> list[dict]:
        """The rows of the curve for both splits, as `config.metric` asks; `is_end` says that the run ends here.

        Raises DivergedError, naming the column, where a value is not finite.
        """
        samples = {"samples_evaluated": run.step * self.config.samples_per_step}
        rows: list[dict[str, Any]] = []
        if evaluation.trains_on_its_bound(self.config) and run.step:
            mean = running_mean.bound(run.sums, self.config.samples_per_step)
            rows.append({**samples, "split": "train", "measure": "running_mean", **mean})
        splits = self.x_eval if is_end or not evaluation.trains_on_its_bound(self.config) else ("test",)
        try:
            for split in splits:
                seed_pair = draws.stream(self.seed, run.state.step, "evaluation", split)
                values = evaluation.evaluate(self.config, run.state.params, self.x_eval[split], seed_pair)
                rows.append({**samples, "split": split, "measure": "evaluated", **values})
        except EstimatorError as error:
            raise self._diverged(f"log p(x) has no estimate at step {run.step}: {error}", run.step) from error
        for row in rows:
            bad = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
            if bad:
                what = f"{', '.join(bad)} on {row['split']} is not finite in the evaluation at step {run.step}"
                raise self._diverged(what, run.step)
        return [{**row, "seconds": run.seconds} for row in rows]

    def run_steps(
        self, state: algorithms.State, n_steps: int, sums: Sequence[float] = (0.0, 0.0)
    ) -> tuple[algorithms.State, tf.Tensor, tf.Tensor]:
        """`n_steps` compiled steps: the new state, `sums` with the steps added, the first bad step or -1.

        `sums` [2] are those of the mean objective of each step and of its square. They go on from one call to the next
        in double precision, so that it does not matter for a single bit where a run was cut into calls.
        """
        return self._compiled_steps(*self._arguments(state, n_steps, sums))

    def steps_program(self) -> str:
        """What `run_steps` compiles, as StableHLO: for XLA on a machine without TensorFlow."""
        arguments = self._arguments(self.initial_state, 0, (0.0, 0.0))
        return self._compiled_steps.experimental_get_compiler_ir(*arguments)(stage="stablehlo")

    def _arguments(self, state: algorithms.State, n_steps: int, sums: Sequence[float]) -> tuple:
        n_steps, sums = tf.constant(n_steps, tf.int64), tf.constant(tuple(sums), tf.float64)
        return state, self.x_train, self.seed, n_steps, sums

    def _diverged(self, what: str, step: int) -> DivergedError:
        return DivergedError(
            f"{self.config.run_id}: {what} ({step * self.config.samples_per_step:,} samples). "
            f"The likely cause is the learning rate ({self.config.learning_rate}): "
            "try a smaller learning_rate, or warm_up_steps=100. "
            f"A checkpoint that was saved before is kept at {checkpoints.path(self.config)}."
        )


@lru_cache(maxsize=1)
def dataset(name: str, preparation: str) -> data.Dataset:
    """The images of a run; the runs of a process share them, since to read MNIST takes half a second."""
    return data.load(name, preparation)


@lru_cache(maxsize=8)
def _compiled_steps(config: RunConfig) -> Any:
    """The loop over steps. Runs that differ in nothing but seed and length share it, so it compiles once for them."""
    algorithm = algorithms.build(config)

    @compiled
    def run_steps(state, x_train, seed, n_steps, sums):
        end = state.step + n_steps

        def body(state, sums, first_bad):
            next_state, info = algorithm.step(state, minibatch(config, x_train, state.step, seed), seed)
            objective = tf.cast(tf.reduce_mean(info.objective), tf.float64)
            is_first_bad = (first_bad < 0) & ~tf.math.is_finite(objective)
            first_bad = tf.where(is_first_bad, state.step, first_bad)
            return next_state, sums + tf.stack([objective, objective**2]), first_bad

        initial = (state, sums, tf.constant(-1, tf.int64))
        return tf.while_loop(lambda state, *_: state.step < end, body, initial)

    return run_steps


def minibatch(config: RunConfig, x_train: tf.Tensor, step: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The datapoints [M, D] of one step, drawn with replacement as in eq. 8; all where M = N."""
    x = x_train
    if config.batch_size != config.n_train:
        seed_pair = draws.stream(seed, step, "minibatch")
        x = tf.gather(x_train, draws.indices(seed_pair, config.n_train, config.batch_size))
    if config.targets == "binarised":
        return draws.bernoulli(draws.stream(seed, step, "targets"), x)
    return x


def _is_finite(state: algorithms.State) -> bool:
    leaves = [leaf for leaf in tf.nest.flatten(state) if leaf.dtype.is_floating]
    return all(bool(tf.reduce_all(tf.math.is_finite(leaf))) for leaf in leaves)


def _here() -> dict:
    """Commit, processor, device and versions of this process."""
    return {**provenance.environment(), "device": device.name()}


def _with_contributor(config: RunConfig, run: Run, here: dict) -> Run:
    """The run with this commit and machine as the last of its contributors."""
    last = dict(run.contributors[-1]) if run.contributors else {}
    if {**last, **here} == last:
        return run
    return run._replace(contributors=(*run.contributors, {"from_samples": run.step * config.samples_per_step, **here}))


def _without_an_earlier_end(config: RunConfig, run: Run) -> tuple[dict, ...]:
    """The rows of a run that goes on, without what only the end of a shorter one had: the same as of one that did not.

    That is a point beside the grid, and the model evaluated on train where the curve has the running mean.
    """
    if run.step * config.samples_per_step >= config.samples_total:
        return run.rows
    points = grid(config.metric, config.samples_total)
    steps = {math.ceil(point / config.samples_per_step) for point in points}
    has_running_mean = evaluation.trains_on_its_bound(config)
    return tuple(
        row for row in run.rows
        if row["samples_evaluated"] // config.samples_per_step in steps
        and not (has_running_mean and _kind(row) == ("train", "evaluated"))
    )  # fmt: skip


def _is_evaluated(config: RunConfig, run: Run, is_end: bool) -> bool:
    """Whether the curve has this step's rows; at the end of a run that trains on its bound, the model on train, too."""
    rows = run.rows[len(_before(config, run)) :]
    asks_for_train = is_end and evaluation.trains_on_its_bound(config)
    return bool(rows) and not (asks_for_train and ("train", "evaluated") not in {_kind(row) for row in rows})


def _before(config: RunConfig, run: Run) -> tuple[dict, ...]:
    """The rows of earlier steps than this one."""
    return tuple(row for row in run.rows if row["samples_evaluated"] < run.step * config.samples_per_step)


def _kind(row: dict) -> tuple[str, str]:
    return row["split"], row["measure"]


def save_record(config: RunConfig, dataset: data.Dataset, run: Run, folder: Path) -> records.Record:
    """Write the record of the run as far as it is, with its weights and the facts about them."""
    return records.save(
        config, run.rows, _facts(config, dataset, run), folder, weights=networks.to_arrays(run.state.params)
    )


def _facts(config: RunConfig, dataset: data.Dataset, run: Run) -> dict:
    """What a record says in addition to configuration and curve."""
    facts: dict = {"seconds": round(run.seconds, 1), "contributors": run.contributors}
    if config.facts.likelihood == "gaussian":
        x_train = dataset.x_train[: config.n_train]
        facts["independent_gaussian"] = {
            split: round(baselines.independent_gaussian(x_train, x, config.pixel_variance).mean(), 2)
            for split, x in {"train": x_train, "test": dataset.x_test}.items()
        }
    if hasattr(run.state.params, "encoder"):
        kl = latent.kl_per_dimension(run.state.params.encoder, evaluation.observed(config, "test", dataset.x_test))
        facts["kl_per_dimension"] = [round(float(value), 4) for value in kl]
    return facts
