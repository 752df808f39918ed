"""The notebook that tells the method: its loop takes the package's steps, its toy is right, its solutions run.

That the whole notebook runs on digits is part of the smallest batch, `make reproduce PROFILE=smoke`.
"""

import re

import matplotlib
import nbformat
import numpy as np
import pytest
import tensorflow as tf
from nbclient import NotebookClient
from scipy import integrate
from scipy.special import logsumexp
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


@pytest.fixture(scope="module")
def solutions() -> list[str]:
    exercises = [cell.source for cell in NOTEBOOK.cells if re.match(r"\*\*\d\.\*\*", cell.source)]
    assert all(text.count("<details>") == text.count("</details>") == 1 for text in exercises)
    return [source for text in exercises for source in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)]


def preparation(n_steps: int) -> list[str]:
    """The notebook's cells that a solution needs, on digits, with short trainings."""
    (tools,) = [cell.source for cell in NOTEBOOK.cells if cell.source.startswith("import matplotlib")]
    images = "from replication import data\nseed = 0\n_, x_train, x_test, *_ = data.load('digits')"
    trainings = [*sources("algorithm-1"), *sources("again")]
    assert sum("8000" in source for source in trainings) == sum("n_steps=2000" in source for source in trainings) == 1
    short = [source.replace("8000", str(n_steps)).replace("=2000", f"={n_steps}") for source in trainings]
    return [images, "from replication.plots import palette", tools, *sources("toy"), *short]


@pytest.mark.slow
def test_solutions_pasted_into_the_notebook_print_the_same_in_order_and_alone(solutions):
    # Fails if a solution does not run, needs another one, finds what another one left, or changes nothing since a
    # traced function does not see it.
    keep = "kept = dict(globals())"
    forget = (
        "for name in [name for name in globals() if name not in [*kept, 'kept'] and name[0] != '_']:\n"
        "    del globals()[name]\n"
        "globals().update(kept)\n"
        "set_weights([w + 1 for w in weights])"
    )
    alone = [source for solution in solutions for source in (forget, solution)]
    cells = [nbformat.v4.new_code_cell(source) for source in [*preparation(200), keep, *solutions, *alone]]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), resources={"metadata": {"path": paths.NOTEBOOKS}}).execute()
    of = lambda cells: ["".join(output.text for output in cell.outputs if output.name == "stdout") for cell in cells]  # noqa: E731
    in_order, by_itself = of(cells[-3 * len(solutions) : -2 * len(solutions)]), of(cells[1 - 2 * len(solutions) :: 2])
    assert len(solutions) == 5 and in_order == by_itself and all("nats" in text for text in in_order)
    numbers = [[float(number) for number in re.findall(r"-?\d+\.?\d*", text)] for text in in_order]
    sigma, fit_without, fit_with = numbers[3]
    assert sigma == pytest.approx(1, abs=0.05) and fit_with < fit_without - 2


@pytest.fixture(scope="module")
def student(solutions) -> dict:
    """What a notebook knows in which all solutions were pasted, after trainings of a few steps."""
    namespace: dict = {}
    for source in [*preparation(5), *solutions]:
        exec(source, namespace)
    return namespace


def test_the_solutions_are_right(student):
    # Fails if a solution computes something else than its text says.
    x, weights = student["x_train"][:100], student["weights"]
    student["set_weights"]([0.3 * np.random.default_rng(0).standard_normal(w.shape) for w in weights])
    eps = np.random.default_rng(1).standard_normal((20, 50, 100, 2), dtype="float32")
    differences = [float(student["loss_a"](x, e) - student["negative_elbo"](x, e)) for e in eps]
    assert 0 < abs(np.mean(differences)) < 5 * np.std(differences) / 20**0.5
    each = [float(student["negative_elbo"](x, e)) for e in eps[0, :5]]
    assert float(student["loss_of_many_draws"](x, eps[0, :5])) == pytest.approx(np.mean(each), rel=1e-5)
    squares = sum(np.sum(np.square(w)) for w in weights if w.shape.rank == 2)
    penalty = float(student["loss_with_prior"](x, eps[0, 0])) - each[0]
    assert penalty == pytest.approx(100 / 200 * squares / 2, rel=1e-3)
    assert student["loss_without_noise"](x, eps[0, 0]) == student["negative_elbo"](x, 0 * eps[0, 0])


def test_the_solution_for_log_px_agrees_with_an_integral(student):
    # Fails if a weight lacks one of its three factors: the integral is a sum over a grid of both latent variables.
    student["set_weights"]([0.1 * np.random.default_rng(0).standard_normal(w.shape) for w in student["weights"]])
    line = np.linspace(-7, 7, 281, dtype="float32")
    z = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 1, 2)
    x = student["x_test"][:5]
    log_joint = student["decode"](z).log_prob(x) + student["prior"].log_prob(z)
    log_px = logsumexp(log_joint, axis=0) + 2 * np.log(line[1] - line[0])
    np.testing.assert_allclose(student["log_px_of"](x, n_draws=20_000), log_px, atol=0.05)


def test_train_begins_and_goes_on_as_the_visible_loop_does():
    # Fails if the function that the exercises use is another algorithm than the visible loop, by a different start,
    # other minibatches or noise, or another step; and if a change of the loss has no effect on it.
    namespace: dict = {}
    for source in preparation(10):
        exec(source, namespace)
    assert namespace["n_steps"] == 10
    namespace["train"](namespace["negative_elbo"])
    for again, visible in zip(namespace["weights"], namespace["trained"], strict=True):  # rounding grows
        np.testing.assert_allclose(again, visible, atol=1e-3 * np.abs(visible).max())
    namespace["train"](
        lambda x, eps: 2 * namespace["negative_elbo"](x, eps) + 1e4 * tf.nn.l2_loss(namespace["weights"][0])
    )
    assert np.abs(namespace["weights"][0] - namespace["trained"][0]).max() > 1e-3


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
