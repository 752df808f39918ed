"""Every draw of a run has numbers of its own."""

import inspect
from collections import Counter
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from replication import data, draws
from replication.config import RunConfig
from replication.model import hmc, latent, marginal_likelihood
from replication.runs import training
from replication.runs.checkpoints import Run
from replication.studies import gradients

Pair = tuple[int, int]


@pytest.fixture
def seed_pairs(monkeypatch) -> list[Pair]:
    """The seed pair of every draw from here on, as the product makes it; the draws themselves are the real ones."""
    found = []

    def watch(module, name: str, bits: int, **shorter):
        real = getattr(module, name)
        signature = inspect.signature(real)

        def watched(*args, **kwargs):
            call = signature.bind(*args, **kwargs)
            found.append(tuple(np.asarray(call.arguments["seed_pair"]).astype(f"int{bits}").tolist()))
            call.arguments.update(shorter)
            return real(*call.args, **call.kwargs)

        monkeypatch.setattr(module, name, watched)

    for name in ("normal", "uniform", "indices"):
        watch(draws, name, 64)
    watch(hmc, "move", 32)  # TFP is given 32 bits
    watch(hmc, "sample", 32, n_samples=8, n_burnin=2)
    tf.config.run_functions_eagerly(True)  # a compiled function has no numbers to look at
    yield found
    tf.config.run_functions_eagerly(False)


def shared(pairs: list[Pair]) -> dict[Pair, int]:
    """The pairs that more than one draw used, and how many did."""
    return {pair: n for pair, n in Counter(pairs).items() if n > 1}


SETTINGS = {
    "aevb": {},
    "wake_sleep": {},
    "mcem": {"metric": "log_px", "batch_size": 1500},  # two chunks a step
    "full_vb": {"weight_noise": "local"},
}


def config_of(algorithm: str, **changes) -> RunConfig:
    return RunConfig(**{
        "dataset": "digits", "algorithm": algorithm, "n_latent": 2, "n_hidden": 8, "samples_total": 1, "seed": 0,
        "initialisation": "fan_in", **SETTINGS[algorithm], **changes,
    })  # fmt: skip


def few_digits() -> data.Dataset:
    digits = data.load("digits")
    return digits._replace(x_test=digits.x_test[:20], labels_test=digits.labels_test[:20])


@pytest.mark.parametrize("targets", ["grey", "binarised"])
@pytest.mark.parametrize("algorithm", list(SETTINGS))
def test_no_two_draws_of_a_training_share_their_numbers(algorithm, targets, seed_pairs):
    # Fails if two purposes, two steps, two layers or two chunks take one seed pair: noise that is used twice correlates
    # what should be independent.
    config = config_of(algorithm, targets=targets)
    engine = training.Engine(config, few_digits())
    n_before = len(seed_pairs)
    engine.run_steps(engine.initial_state, 3)
    assert len(seed_pairs) >= n_before + 3 * 2
    assert not shared(seed_pairs)


@pytest.mark.parametrize(
    ("algorithm", "metric"), [("full_vb", "bound"), pytest.param("aevb", "log_px", marks=pytest.mark.slow)]
)
def test_no_two_draws_of_an_evaluation_share_their_numbers(algorithm, metric, seed_pairs, monkeypatch):
    # Fails if train and test, the start of the chains and the importance samples, or two chunks share their noise.
    few = partial(marginal_likelihood.importance_sampling, n_samples=3 * marginal_likelihood.IMPORTANCE_CHUNK)
    monkeypatch.setattr(marginal_likelihood, "importance_sampling", few)
    engine = training.Engine(config_of(algorithm, n_train=20, batch_size=20, metric=metric), few_digits())
    engine.evaluate(Run(engine.initial_state), is_end=True)
    assert len(seed_pairs) > 6 and not shared(seed_pairs)


def test_the_gradients_that_are_compared_are_no_draws_of_the_training(seed_pairs):
    # Fails if the variance is measured on minibatches or noise with which the run, or that of another seed, trains.
    trained = set()
    for seed in (0, 1, 2):
        engine = training.Engine(config_of("aevb", seed=seed), few_digits())
        engine.run_steps(engine.initial_state, 6)
        trained |= set(seed_pairs)
        seed_pairs.clear()
    params = engine.initial_state.params
    seed_pairs.clear()
    for pair in range(3):
        of = ("sgvb_b", 5, 1, params, engine.x_train, tf.constant(1, tf.int64))
        gradients._half_distance(*of, tf.constant(pair, tf.int64))
    assert len(seed_pairs) == 3 * 2 * 2  # a minibatch and its noise, twice per pair
    assert not shared(seed_pairs) and not trained & set(seed_pairs)


def test_samples_of_a_model_are_no_draws_of_its_training(seed_pairs):
    engine = training.Engine(config_of("aevb"), few_digits())
    engine.run_steps(engine.initial_state, 2)
    latent.random_samples(engine.initial_state.params, 5, seed=1)
    assert not shared(seed_pairs)


def test_streams_and_their_parts_are_uncorrelated():
    # Fails if a name or a part is ignored, or if two of them lead to one seed pair.
    starts = [draws.stream(seed, step, name) for seed in (0, 1) for step in (0, 1, 2, 10**6) for name in draws.STREAMS]
    parts = [
        draws.stream(seed, step, "evaluation", *parts)
        for seed in (0, 1)
        for step in (0, 1)
        for parts in (
            ("train",),
            ("test",),
            ("train", "importance"),
            ("train", 0),
            ("train", 1),
            ("test", 1),
            (1, "test"),
        )
    ]
    values = np.array([draws.normal(pair, [2000]) for pair in starts + parts])
    correlations = np.corrcoef(values) - np.eye(len(values))
    assert np.abs(correlations).max() < 5.5 / np.sqrt(2000)  # of 6670 pairs, 5.5 standard errors: 1 in 4000
    assert len(set(draws.STREAMS)) == len(draws.STREAMS) <= draws.MAX_STREAMS


def test_a_part_is_the_same_compiled_or_not():
    # Fails where a resumed or an evaluated run would depend on what TensorFlow compiles.
    compiled = tf.function(lambda seed: draws.stream(seed, 7, "evaluation", "train", 3), jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.constant(5, tf.int64)), draws.stream(5, 7, "evaluation", "train", 3))
