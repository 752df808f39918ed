"""The notebook that tells the method: its loop takes the package's steps, its toy is right, its solutions run.

That the whole notebook runs on digits is part of the smallest batch, `make reproduce PROFILE=smoke`.
"""

import re

import matplotlib
import nbformat
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate
from scipy.stats import norm

matplotlib.use("agg")

from replication import data, draws, paths
from replication.algorithms import aevb
from replication.config import RunConfig
from replication.plots import diagrams

MAX_LINES = 45
NOTEBOOK = nbformat.read(paths.NOTEBOOKS / "0_method.ipynb", as_version=4)


def sources(tag: str) -> list[str]:
    return [cell.source for cell in NOTEBOOK.cells if tag in cell.metadata["tags"]]


@pytest.fixture(scope="module")
def algorithm_1() -> str:
    (source,) = sources("algorithm-1")
    return source


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


def test_the_visible_loop_draws_a_minibatch_anew_for_each_step_and_learns(algorithm_1):
    # Fails if the cell trains on the same images again and again, or does not learn.
    loop: dict = {"x_train": data.load("digits").x_train, "seed": 0, "minibatches": set()}
    append = "    history.append(step(x, "
    assert algorithm_1.count("8000") == algorithm_1.count(append) == 1
    exec(algorithm_1.replace("8000", "300").replace(append, f"    minibatches.add(x.tobytes())\n{append}"), loop)
    assert len(loop["minibatches"]) == 300
    log_px_given_z, kl = np.array(loop["history"]).T
    elbo = log_px_given_z - kl
    assert np.mean(elbo[-50:]) > np.mean(elbo[:50]) + 3


@pytest.fixture(scope="module")
def toy() -> dict:
    namespace = {"np": np, "norm": norm, "integrate": integrate}
    for source in sources("toy"):
        exec(source, namespace)
    return namespace


def expectation(function, mean: float, sd: float) -> float:
    """E[function(z)] for z ~ N(mean, sd^2), by quadrature."""
    integrand = lambda z: norm.pdf(z, mean, sd) * function(z)  # noqa: E731
    return integrate.quad(integrand, mean - 10 * sd, mean + 10 * sd, epsabs=1e-11, epsrel=1e-11, limit=200)[0]


@pytest.mark.parametrize("q", [(0.0, 1.0), (0.0, 0.2), (-0.7, 0.6), (0.3, 0.35)])
def test_the_toy_bound_and_divergence_add_up_to_log_px(toy, q):
    # The bound of the notebook is a closed form and its log p(x) a quadrature: an error in either breaks the sum.
    log_px_given_z = expectation(toy["log_px_given_z"], *q)
    kl = expectation(lambda z: norm.logpdf(z, *q) - norm.logpdf(z), *q)
    kl_to_posterior = expectation(lambda z: norm.logpdf(z, *q) - toy["log_posterior"](z), *q)
    assert toy["expected_log_px_given_z"](*q) == pytest.approx(log_px_given_z, abs=1e-7)
    assert toy["kl_to_prior"](*q) == pytest.approx(kl, abs=1e-7)
    assert toy["elbo"](*q) + kl_to_posterior == pytest.approx(toy["log_px"], abs=1e-6)
    assert toy["kl_to_posterior"](*q) == pytest.approx(kl_to_posterior, abs=1e-7)


@pytest.mark.parametrize("q", [(0.0, 0.3), (0.4, 0.5)])
def test_both_gradients_of_the_toy_are_unbiased(toy, q):
    # Fails with a dropped term in either gradient: their means are those of the difference quotient of the bound.
    mean, sd = q
    quotient = (toy["elbo"](mean + 1e-5, sd) - toy["elbo"](mean - 1e-5, sd)) / 2e-5
    assert toy["exact_gradient"](*q) == pytest.approx(quotient, abs=1e-6)
    assert expectation(toy["pathwise_gradient"], *q) == pytest.approx(quotient, abs=1e-6)
    assert expectation(lambda z: toy["score_function_gradient"](z, *q), *q) == pytest.approx(quotient, abs=1e-6)


@pytest.fixture
def solutions() -> list[str]:
    (exercises,) = [cell.source for cell in NOTEBOOK.cells if cell.source.startswith("## 11 ")]
    assert exercises.count("<details>") == exercises.count("</details>") == 5
    return re.findall(r"```python\n(.*?)```", exercises, flags=re.DOTALL)


def test_the_solutions_run_and_are_right(algorithm_1, solutions):
    # Fails if a solution has an error, or computes something else than its text says.
    sgvb_a, more_draws, decay, no_noise, log_px = solutions
    loop: dict = {"x_train": data.load("digits").x_train, "seed": 0}
    exec(algorithm_1.replace("8000", "300"), loop)
    x = loop["x_train"][:100]
    eps = np.random.default_rng(1).standard_normal((4000, 100, 2), dtype="float32")
    fit, kl = loop["bound"](x, eps[0])
    exec(sgvb_a, loop)
    _, sampled_kl = loop["bound"](x, eps)
    np.testing.assert_allclose(np.mean(sampled_kl, axis=0), kl, atol=5 * np.std(sampled_kl, axis=0).max() / 4000**0.5)
    exec(more_draws, loop)
    averaged, same_kl = loop["bound"](x, eps[:50])
    assert averaged.shape == fit.shape and np.allclose(same_kl, kl)
    exec(decay, loop)
    penalty = loop["loss_of"](x, eps[:1]) + tf.reduce_sum(fit - kl)
    squares = sum(np.sum(np.square(w)) for w in loop["weights"] if w.shape.rank == 2)
    assert float(penalty) == pytest.approx(100 / 1500 * squares / 2, abs=2e-3)
    exec(log_px, loop)
    assert np.mean(loop["log_px_of"](x)) >= np.mean(averaged - kl) - 1e-3
    exec(no_noise, loop)
    assert loop["sigma"] == pytest.approx(1, abs=0.1) and loop["fit_with"] < loop["fit_without"] - 2


def test_the_reparameterised_graph_has_its_only_random_node_beside_the_way():
    # Fails if a node is drawn as the other kind: circles are random, z on the left, eps alone on the right.
    (axes,) = diagrams.reparameterisation().axes
    circles = [patch.center for patch in axes.patches if isinstance(patch, matplotlib.patches.Circle)]
    named = {text.get_position(): text.get_text() for text in axes.texts}
    assert [named[tuple(map(float, centre))] for centre in circles] == ["$z$", r"$\epsilon$", ""]


def test_the_autoencoder_shows_the_sizes_that_it_is_given():
    # Fails if a layer has another's size.
    (axes,) = diagrams.autoencoder(64, 10, 3).axes
    texts = [text.get_text() for text in axes.texts]
    sizes = ["64 pixels", "10 units", "2 x 3", "3", "10 units", "64 means"]
    assert [text for text in texts if text in sizes] == sizes
