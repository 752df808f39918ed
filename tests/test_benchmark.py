"""Every contender does the work of AEVB: it learns at the same rate, and its weights come out in the same form.

`make test-benchmark` runs these; those of PyTorch need `pip install -e '.[benchmark]'`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import replication
from replication import benchmark, data, draws
from replication.benchmark import contenders
from replication.errors import ReplicationError
from replication.model import estimators, networks

pytestmark = pytest.mark.benchmark

LEARNS = [name for name in benchmark.CONTENDERS if name != "sgemm"]
RNG = np.random.default_rng(0)
BLOBS = (RNG.random((400, 784)) < np.where(RNG.random((400, 1)) < 0.5, 0.1, 0.7)).astype("f")
SMALL = {"n_latent": 2, "n_hidden": 16, "batch_size": 20, "learning_rate": 0.05}


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A folder with 400 pictures, dark or bright, for small networks."""
    monkeypatch.setattr(benchmark, "SETTINGS", SMALL)
    benchmark.write_inputs(tmp_path, data.Dataset("blobs", BLOBS, BLOBS[:100]))
    return tmp_path


def installed_or_skip(name: str) -> None:
    if name not in benchmark.installed():
        pytest.skip(f"{benchmark.PACKAGES[name]} is not installed: pip install -e '.[benchmark]'")


# A contender in a process of its own, since frameworks do not bear each other: it trains, and writes its weights.
TRAIN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import contenders
import numpy as np
name, folder, initial, sizes, n_epochs = sys.argv[2:]
with np.load(initial) as file:
    task = contenders.Task(np.load(folder + "/x_train.npy"), dict(file), *json.loads(sizes), 0, False)
trainer = contenders.CONTENDERS[name](task)
for _ in range(int(n_epochs)):
    trainer.epoch()
np.savez(folder + "/trained.npz", **trainer.weights())
"""


def initial_of(inputs) -> dict:
    with np.load(benchmark._initial(inputs, SMALL["n_latent"], SMALL["n_hidden"])) as file:
        return dict(file)


def train(name: str, inputs, n_epochs: int, x_train: np.ndarray = BLOBS, **changes) -> dict:
    """The weights after so many epochs from the common start, with `changes` to it."""
    np.save(inputs / "x_train.npy", x_train)
    np.savez(inputs / "start.npz", **{**initial_of(inputs), **changes})
    env = {key: value for key, value in os.environ.items() if name == "engine" or key not in replication.ENVIRONMENT}
    sizes = json.dumps([SMALL["batch_size"], SMALL["learning_rate"]])
    arguments = [Path(contenders.__file__).parent, name, inputs, inputs / "start.npz", sizes, str(n_epochs)]
    run = subprocess.run([sys.executable, "-c", TRAIN, *arguments], env=env, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr[-3000:])
    with np.load(inputs / "trained.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", LEARNS)
def test_a_contender_learns_as_the_engine_does(name, inputs):
    # Fails if a contender has another gradient or stepsize, starts elsewhere, or does not update its weights. Larger
    # weights to start from, since from small ones it is chance when the training sets in.
    installed_or_skip(name)
    initial = {part: 10 * array for part, array in initial_of(inputs).items()}
    bounds = [contenders.bound_on_test(train(each, inputs, 5, **initial), BLOBS[:100]) for each in ("engine", name)]
    assert bounds[0] > contenders.bound_on_test(initial, BLOBS[:100]) + 150
    assert bounds[1] == pytest.approx(bounds[0], abs=6)  # their noise differs; three of them lay within 3 nats


@pytest.mark.parametrize("name", LEARNS)
def test_a_contender_has_the_prior_on_weight_matrices_alone(name, inputs):
    # Fails if the prior is left out. On black pictures the gradient of the first layer is the prior's alone, and after
    # one step Adagrad makes of it the stepsize and its sign. Fails, too, if the prior's share M/N, 1 here, is another:
    # where a weight is small, epsilon tells its size.
    installed_or_skip(name)
    w = initial_of(inputs)["encoder.hidden.w"]
    moved = train(name, inputs, n_epochs=1, x_train=np.zeros((20, 784), "f"))["encoder.hidden.w"]
    expected = w - SMALL["learning_rate"] * w / np.sqrt(w**2 + contenders.ADAGRAD_EPSILON)
    where = np.abs(w) > 0.01 if name == "pytorch" else np.isfinite(w)  # its epsilon stands outside the root
    np.testing.assert_allclose(moved[where], expected[where], atol=1e-3)


@pytest.mark.parametrize("name", LEARNS)
def test_a_contender_stops_at_a_value_that_is_not_finite(name, inputs):
    # Fails if a contender saves itself the guard that the others pay for.
    installed_or_skip(name)
    with pytest.raises(RuntimeError, match="not finite"):
        train(name, inputs, n_epochs=1, **{"decoder.logits.b": np.full(784, np.nan, "f")})


def test_the_bound_of_all_is_that_of_the_package(inputs):
    # Fails if the common evaluation leaves out a term. Both take one sample of z for each of 100 pictures.
    initial = initial_of(inputs)
    params = networks.from_arrays(initial)
    eps = draws.normal(draws.stream(0, 0, "eps"), [1, 100, SMALL["n_latent"]])
    expected = tf.reduce_mean(estimators.sgvb_b(params, tf.constant(BLOBS[:100]), eps).elbo)
    assert contenders.bound_on_test(initial, BLOBS[:100]) == pytest.approx(float(expected), abs=0.5)


def test_engine_and_products_are_measured_in_both_arrangements(inputs, tmp_path, monkeypatch):
    # Fails if an arrangement is left out, if the range does not hold the median, or if memory and start are not told.
    monkeypatch.setattr(benchmark, "installed", lambda: ["engine", "sgemm"])
    table = benchmark.peers(inputs, n_rounds=2, seconds=0.1)
    assert sorted(set(zip(table["contender"], table["arrangement"], strict=True))) == sorted(
        (name, arrangement)
        for name in ("engine", "sgemm")
        for arrangement in (benchmark.ALL_CORES, benchmark.RUN_PER_CORE)
    )
    assert (table["lowest"] <= table["samples_per_second"]).all() and (table["rounds"] == 2).all()
    assert (table["samples_per_second"] <= table["highest"]).all() and (table["lowest"] > 0).all()
    memory, start = (table.groupby("contender")[column].max() for column in ("peak_mb_each", "seconds_to_first_step"))
    assert 10 < memory["sgemm"] < memory["engine"] and 0 < start["sgemm"] < start["engine"]

    benchmark.write("peers", table, tmp_path / "tables")
    written, _ = benchmark.read_part("peers", tmp_path / "tables")  # six digits, rounded again when shown
    np.testing.assert_allclose(written["samples_per_second"], table["samples_per_second"], rtol=1e-5)
    shown = benchmark.as_markdown(tmp_path / "tables")
    assert all(f"{rate:,.0f}" in shown for rate in written["samples_per_second"])
    assert "--only growth" in shown and "numpy" in shown
    benchmark.draw(tmp_path / "tables", tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 1000


def test_seconds_to_a_bound_are_of_the_run_that_reached_it(inputs, tmp_path, monkeypatch):
    # Fails if the bound does not decide when the measurement ends, or if it is lost with the process.
    monkeypatch.setattr(benchmark, "installed", lambda: ["engine"])
    monkeypatch.setattr(benchmark, "BOUND", -400.0)
    table = benchmark.to_bound(inputs, tmp_path)
    assert (table["samples"] > 400).all() and (table["seconds"] > 0).all()
    written, _ = benchmark.read_part("to_bound", tmp_path)
    pd.testing.assert_frame_equal(written, table, check_dtype=False, rtol=1e-4)


def test_growth_varies_one_size_at_a_time(inputs, monkeypatch):
    # Fails if a size has no row, or if a larger network were not slower: then the size does not reach the engine.
    monkeypatch.setattr(benchmark, "GROWTH", {"n_hidden": (16, 1000)})
    monkeypatch.setitem(benchmark.SETTINGS, "learning_rate", 0.001)  # so that the large network does not diverge
    table = benchmark.growth(inputs, n_rounds=1, seconds=0.2).set_index(["varied", "value"])["samples_per_second"]
    assert table["n_hidden", 16] > 2 * table["n_hidden", 1000]
    assert ("side_by_side", 1) in table.index


def test_failing_contender_is_an_error_with_its_output(inputs):
    # Fails if what a contender printed at its end is lost.
    with pytest.raises(ReplicationError, match=r"nonsense(.|\n)*failed(.|\n)*KeyError"):
        benchmark._Process("nonsense", inputs, None, 0, {})


def test_unknown_part_is_an_error_that_names_the_parts():
    with pytest.raises(ReplicationError, match=r"no part 'speed'.*peers"):
        benchmark.run(["speed"], 1, 0.1)


def test_the_stepsize_and_sizes_are_those_of_the_figure():
    # Fails if the benchmark runs something else than figure 2's run of AEVB on MNIST with 20 latent variables.
    from replication.paper import experiments
    from replication.paper.plans import make_plan

    runs = experiments.figure2(make_plan("paper"))
    run = next(run for run in runs if (run.dataset, run.algorithm, run.n_latent) == ("mnist", "aevb", 20))
    assert {name: getattr(run, name) for name in benchmark.SETTINGS} == benchmark.SETTINGS
