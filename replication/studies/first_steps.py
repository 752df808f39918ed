"""How a run begins: before a weight moves, at the first dashed point of figure 2, at Monte Carlo EM's first report."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd
import tensorflow as tf

from replication import algorithms, draws
from replication.config import RunConfig, authors_of_2014
from replication.model.estimators import sgvb_b
from replication.runs import evaluation, running_mean, training
from replication.runs.checkpoints import Run
from replication.studies import brute_force

UNITS = ("tanh", "softplus")
SEEDS = (0, 1, 2)
# Frey Face as the reading `authors` has it, but for the units that are asked about.
COMMON = {"dataset": "frey_face", "n_latent": 2, "n_hidden": 200, "samples_total": 1, "batch_size": 500}
FREY_FACE = {
    "aevb": RunConfig(algorithm="aevb", learning_rate=0.02, **COMMON, **authors_of_2014("aevb")),
    "wake_sleep": RunConfig(
        algorithm="wake_sleep", learning_rate=0.02, log_var_factor=0.1, **COMMON, **authors_of_2014("wake_sleep")
    ),
}

MCEM = brute_force.config(  # figure 3 with N = 1000 as the reading `authors` has it, but for what is asked about
    1000, "mcem", batch_size=1000, samples_counted="all_passes", samples_total=1, learning_rate=0.01, warm_up_steps=0
)
RATES_AND_WARM_UPS = ((0.01, 0), (0.02, 0), (0.1, 0), (0.1, 2))  # the paper's three; the authors' warm-up in steps


class Beginning(NamedTuple):
    """The bound on test after the last step, and the mean over the minibatches of all steps [nats per datapoint]."""

    test: float
    mean_on_train: float


def begin(config: RunConfig, n_steps: int) -> Beginning:
    """The first steps of a run, from its initial weights; nothing is written.

    Raises DivergedError where the bound is not finite.
    """
    engine = training.Engine(config, training.dataset(config.dataset, config.preparation))
    run = Run(engine.initial_state)
    while run.step < n_steps:
        run, _ = engine.advance(run, min(n_steps, running_mean.next_mark(run.step, config.samples_per_step)))
    (test,) = [row["value"] for row in engine.evaluate(run, is_end=False) if row["split"] == "test"]
    return Beginning(test, run.sums[-1].total / n_steps if n_steps else float("nan"))


def starts_of_units(run: RunConfig, n_latents: Iterable[int], seeds: Iterable[int]) -> pd.DataFrame:
    """The bound of a run before the first step [nats], a row per seed, a column per unit and n_latent."""
    configs = {(units, n): run.replace(hidden_units=units, n_latent=n) for units in UNITS for n in n_latents}
    rows = {seed: {column: _start(config.replace(seed=seed)) for column, config in configs.items()} for seed in seeds}
    return pd.DataFrame(rows).T.rename_axis(index="seed", columns=["hidden units", "Nz"])


def _start(config: RunConfig) -> float:
    params = algorithms.build(config).init(tf.constant(config.seed, tf.int64)).params
    x_test = evaluation.datapoints(config, training.dataset(config.dataset, config.preparation))["test"]
    eps = draws.normal(draws.stream(config.seed, 0, "evaluation", "test"), [1, len(x_test), config.n_latent])
    return float(tf.reduce_mean(sgvb_b(params, x_test, eps).elbo))


def settings_of_units(steps: Mapping[int, int]) -> dict[str, Any]:
    """What `first_dashed_of_units` depends on."""
    return {"config": FREY_FACE["aevb"].identity, "steps": dict(steps), "seeds": list(SEEDS), "units": list(UNITS)}


def first_dashed_of_units(steps: Mapping[int, int]) -> pd.DataFrame:
    """The first dashed point of AEVB on Frey Face with either unit, each n_latent after so many `steps`.

    `train` is the mean over the minibatches of all steps, `test` the bound after the last [nats per datapoint].
    """
    rows = []
    for units in UNITS:
        for n_latent, n_steps in steps.items():
            for seed in SEEDS:
                run = begin(FREY_FACE["aevb"].replace(hidden_units=units, n_latent=n_latent, seed=seed), n_steps)
                rows.append([units, n_latent, seed, n_steps, run.mean_on_train, run.test])
    return pd.DataFrame(rows, columns=["hidden_units", "n_latent", "seed", "steps", "train", "test"])


SETTINGS_OF_MCEM = {
    "config": MCEM.identity,
    "rates_and_warm_ups": [*map(list, RATES_AND_WARM_UPS)],
    "seeds": list(SEEDS),
}


def first_report_of_mcem() -> pd.DataFrame:
    """log p(x) after the first step of Monte Carlo EM [nats], with each of RATES_AND_WARM_UPS and SEEDS."""
    rows = []
    for learning_rate, warm_up_steps in RATES_AND_WARM_UPS:
        for seed in SEEDS:
            config = MCEM.replace(learning_rate=learning_rate, warm_up_steps=warm_up_steps, seed=seed)
            engine = training.Engine(config, training.dataset(config.dataset, config.preparation))
            run, _ = engine.advance(Run(engine.initial_state), 1)
            values = {row["split"]: row["value"] for row in engine.evaluate(run, is_end=False)}
            rows.append([learning_rate, warm_up_steps, seed, values["train"], values["test"]])
    return pd.DataFrame(rows, columns=["learning_rate", "warm_up_steps", "seed", "train", "test"])
