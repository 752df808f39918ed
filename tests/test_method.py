"""The notebook that tells the method: its visible loop is short, and takes the steps of the package.

That the whole notebook runs on digits is part of the smallest batch, `make reproduce PROFILE=smoke`.
"""

import nbformat
import numpy as np
import pytest
import tensorflow as tf

from replication import data, draws, paths
from replication.algorithms import aevb
from replication.config import RunConfig

MAX_LINES = 45


@pytest.fixture(scope="module")
def algorithm_1() -> str:
    cells = nbformat.read(paths.NOTEBOOKS / "0_method.ipynb", as_version=4).cells
    (cell,) = [cell for cell in cells if "algorithm-1" in cell.metadata["tags"]]
    return cell.source


def test_the_visible_loop_is_short_and_needs_nothing_of_the_package(algorithm_1):
    assert sum(bool(line.strip()) for line in algorithm_1.splitlines()) <= MAX_LINES
    imports = {
        line.split()[1].split(".")[0] for line in algorithm_1.splitlines() if line.startswith(("import", "from"))
    }
    assert imports == {"numpy", "tensorflow", "tensorflow_probability"}


def test_the_visible_loop_takes_the_steps_of_the_package(algorithm_1):
    # Copied out and run on digits; then the same weights, minibatch and noise for both. Fails if the loop's sign, its
    # KL, its Adagrad or its likelihood is another than the one that every number of this project comes from.
    x_train = data.load("digits").x_train
    loop: dict = {"x_train": x_train, "seed": 0}
    exec(algorithm_1.replace("8000", "3"), loop)
    sizes = {name: loop[name] for name in ("n_latent", "n_hidden", "batch_size", "learning_rate")}
    config = RunConfig(dataset="digits", algorithm="aevb", weight_prior=0, samples_total=100, **sizes)
    seed = tf.constant(0, tf.int64)
    state = aevb.init(config, seed)
    for step in range(5):
        for ours, theirs in zip(loop["weights"] + loop["sums_of_squares"], tf.nest.flatten(state[1:]), strict=True):
            ours.assign(theirs)
        x = tf.constant(x_train[step * 100 : (step + 1) * 100])
        eps = draws.normal(draws.stream(seed, state.step, "eps"), [1, 100, config.n_latent])
        terms = loop["step"](x, eps[0])
        before, (state, info) = state, aevb.step(config, state, x, seed)
        np.testing.assert_allclose(terms[0], tf.reduce_mean(info.log_px_given_z), rtol=1e-5)
        np.testing.assert_allclose(terms[1], tf.reduce_mean(info.kl), rtol=1e-5, atol=1e-6)
        moved = [
            new - old for new, old in zip(tf.nest.flatten(state.params), tf.nest.flatten(before.params), strict=True)
        ]
        for ours, s, theirs, old, change in zip(
            loop["weights"], loop["sums_of_squares"], tf.nest.flatten(state.sum_of_squares),
            tf.nest.flatten(before.params), moved, strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(s, theirs, rtol=1e-4, atol=1e-6 * float(tf.reduce_max(theirs)))
            is_clear = theirs.numpy() > 1e-4  # Adagrad turns the rounding of a vanishing gradient into a whole step
            np.testing.assert_allclose((ours - old).numpy()[is_clear], change.numpy()[is_clear], rtol=1e-3, atol=1e-5)
