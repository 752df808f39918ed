"""The engine: evaluation points, evaluation, exact resume, and what happens when a bound is no longer finite."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from replication import data
from replication.errors import DivergedError
from replication.model import latent
from replication.model.estimators import sgvb_b
from replication.runs import checkpoints, records, training
from replication.runs.checkpoints import Run
from replication.runs.points import evaluation_points


def test_evaluation_points_are_log_spaced_and_end_with_the_run():
    assert evaluation_points("bound", 4000) == [4000]
    assert evaluation_points("bound", 300_000) == [100_000, 125_000, 160_000, 200_000, 250_000, 300_000]
    grid = evaluation_points("bound", 10**8)
    assert {10**5, 10**6, 3 * 10**6, 10**7, 6 * 10**7, 10**8} <= set(grid)
    for decade in (10**5, 10**6, 10**7):
        assert sum(decade <= point < 10 * decade for point in grid) >= 8
    assert grid == sorted(set(grid))


def test_points_of_a_run_have_noise_of_their_own(tiny):
    # Fails if every evaluation point of a run sees the same z: its errors then do not average out along the curve.
    engine = training.Engine(tiny.replace(algorithm="full_vb"), data.load("digits"))
    runs = [Run(engine.initial_state._replace(step=tf.constant(step, tf.int64))) for step in (0, 7)]
    at_start, later = ([row["reconstruction"] for row in engine.evaluate(run, is_end=True)] for run in runs)
    assert at_start != later


def test_the_kl_of_each_dimension_is_of_the_images_on_which_the_run_is_evaluated(tiny):
    # Fails if a run on binary targets says how much z tells of grey images.
    digits = data.load("digits")
    engine = training.Engine(tiny.replace(targets="binarised", initialisation="paper_variance"), digits)
    run = Run(engine.initial_state)
    (on_test,) = [row for row in engine.evaluate(run, is_end=False) if row["split"] == "test"]
    kl = training._facts(engine.config, digits, run)["kl_per_dimension"]
    assert sum(kl) == pytest.approx(on_test["kl"], rel=1e-3)


def test_evaluation_points_of_the_marginal_likelihood_cover_the_papers_axis():
    grid = evaluation_points("log_px", 6 * 10**7)
    assert len(grid) >= 25 and grid == sorted(set(grid))
    assert {million * 10**6 for million in (1, 5, 10, 20, 40, 60)} <= set(grid)
    assert evaluation_points("log_px", 500_000) == [100_000, 250_000, 500_000]


def test_binarised_targets_are_drawn_anew_for_every_minibatch_around_the_grey_values(tiny):
    # Fails if they were thresholded, drawn once, or if the evaluation's draw changed from point to point.
    digits = data.load("digits")
    config = tiny.replace(targets="binarised", n_train=100, batch_size=100)  # every minibatch is the training set
    engine = training.Engine(config, digits)
    draws_of_x = np.stack(
        [training.minibatch(config, engine.x_train, tf.constant(i, tf.int64), engine.seed) for i in range(200)]
    )
    assert set(np.unique(draws_of_x)) == {0.0, 1.0}
    se = np.sqrt(engine.x_train * (1 - engine.x_train) / 200)
    assert (np.abs(draws_of_x.mean(0) - engine.x_train) < 5 * se + 1e-6).all()
    again = training.Engine(config.replace(seed=1), digits).x_eval
    assert set(np.unique(engine.x_eval["test"])) == {0.0, 1.0}
    np.testing.assert_array_equal(engine.x_eval["test"], again["test"])


@pytest.mark.parametrize(("pixel_variance", "axis"), [("per_pixel", 0), ("shared", None)])
def test_a_record_names_the_independent_gaussian_of_its_own_datapoints_and_variance(tiny, pixel_variance, axis):
    # The first 100 datapoints are unlike the others. Fails if these are in it, or if its variance is not the run's.
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.beta(2, 5, (100, 560)), rng.beta(5, 2, (300, 560))]).astype("f")
    dataset = data.Dataset("frey_face", x, x[200:])
    config = tiny.replace(dataset="frey_face", n_train=100, pixel_variance=pixel_variance)
    run = checkpoints.Run(training.Engine(config, dataset).initial_state)
    mean = x[:100].mean(axis=0, dtype=float)
    best = scipy.stats.norm(mean, np.sqrt(np.mean((x[:100] - mean) ** 2, axis=axis)))
    expected = {"train": best.logpdf(x[:100]).sum(axis=1).mean(), "test": best.logpdf(x[200:]).sum(axis=1).mean()}
    assert training._facts(config, dataset, run)["independent_gaussian"] == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("algorithm", ["aevb", "wake_sleep"])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(tiny, tmp_path, monkeypatch, algorithm):
    # Fails with any hidden state: a generator, an epoch counter, a chunk size that leaks into the numbers.
    config = tiny.replace(algorithm=algorithm)
    engine = training.Engine(config, data.load("digits"))
    monkeypatch.setenv("REPLICATION_CACHE_DIR", str(tmp_path / "whole"))
    whole = training.train(config, tmp_path / "runs-whole")
    at_once = checkpoints.load(config, engine.initial_state)
    monkeypatch.setenv("REPLICATION_CACHE_DIR", str(tmp_path / "halves"))
    training.train(config.replace(samples_total=2000), tmp_path / "runs-halves")
    assert checkpoints.load(config, engine.initial_state).step == 20
    resumed = training.train(config, tmp_path / "runs-halves")
    in_halves = checkpoints.load(config, engine.initial_state)
    assert at_once.step == in_halves.step == 40
    for one, other in zip(tf.nest.flatten(at_once.state), tf.nest.flatten(in_halves.state), strict=True):
        np.testing.assert_array_equal(one, other)
    assert at_once.sums == in_halves.sums
    last = ["value", "se", "reconstruction", "kl"]
    assert whole.curve.iloc[-2:][last].equals(resumed.curve.iloc[-2:][last].set_axis(whole.curve.index[-2:]))


def test_evaluation_reports_the_bound_its_parts_and_its_standard_error(tiny):
    engine = training.Engine(tiny, data.load("digits"))
    (test,) = engine.evaluate(checkpoints.Run(engine.initial_state), is_end=False)
    assert test["value"] == pytest.approx(test["reconstruction"] - test["kl"], abs=1e-4)
    draws_of_bound = [
        sgvb_b(engine.initial_state.params, engine.x_eval["test"], tf.random.normal([1, 297, 2])).elbo.numpy()
        for _ in range(50)
    ]
    assert abs(test["value"] - np.mean(draws_of_bound)) < 5 * np.std(np.mean(draws_of_bound, axis=1))
    assert test["se"] == pytest.approx(np.std(draws_of_bound[0], ddof=1) / 297**0.5, rel=0.05)


def test_training_improves_the_test_bound(tiny, tmp_path):
    record = training.train(tiny.replace(samples_total=150_000), tmp_path)
    test = record.curve[record.curve["split"] == "test"]
    engine = training.Engine(tiny, data.load("digits"))
    (initial,) = engine.evaluate(checkpoints.Run(engine.initial_state), is_end=False)
    assert test["samples_evaluated"].tolist() == [100_000, 125_000, 150_000]
    assert test["value"].iloc[-1] > initial["value"] + 10


def test_progress_is_reported(tiny, tmp_path):
    reports = []
    training.train(tiny, tmp_path, lambda samples, bound: reports.append((samples, bound)))
    assert reports[-1][0] == 4000 and all(np.isfinite(bound) for _, bound in reports)


def test_diverged_run_names_step_and_cause_and_keeps_its_checkpoint(tiny, tmp_path):
    # Without the check the run would go on to the end and record NaN.
    training.train(tiny, tmp_path)
    engine = training.Engine(tiny, data.load("digits"))
    good = checkpoints.load(tiny, engine.initial_state)
    broken = good._replace(
        state=good.state._replace(params=tf.nest.map_structure(lambda p: p * 1e30, good.state.params))
    )
    checkpoints.save(tiny, broken)
    with pytest.raises(DivergedError, match=r"not finite at step 40 \(4,000 samples\).*learning rate.*learning_rate"):
        training.train(tiny.replace(samples_total=8000), tmp_path)
    assert checkpoints.load(tiny, engine.initial_state).step == 40
    assert records.load(tiny, tmp_path).samples_evaluated == 4000


def test_a_diverging_learning_rate_is_noticed_from_scratch(tiny, tmp_path):
    config = tiny.replace(learning_rate=1e30, samples_total=20_000)
    with pytest.raises(DivergedError, match=r"1e\+30"):
        training.train(config, tmp_path)


def test_an_update_that_breaks_the_last_step_is_noticed(tiny, tmp_path):
    # The objective of the only step is finite, its update overflows: without a look at the parameters, NaN is recorded.
    config = tiny.replace(learning_rate=1e38, samples_total=100)
    with pytest.raises(DivergedError, match=r"the update is not finite at step 0 .*learning_rate"):
        training.train(config, tmp_path)
    assert records.load(config, tmp_path) is None and not checkpoints.path(config).exists()


@pytest.mark.parametrize("steps_per_call", [1, 100])
def test_the_first_bad_update_is_named_wherever_calls_end(tiny, steps_per_call):
    # The first update after the warm-up overflows Adagrad's sums, the objective only later. Fails if the step that is
    # named depends on the speed of the machine.
    engine = training.Engine(tiny.replace(n_hidden=20, learning_rate=3.0, warm_up_steps=20), data.load("digits"))
    run = checkpoints.Run(engine.initial_state)
    with pytest.raises(DivergedError, match=r"the update is not finite at step 22 "):
        while run.step < 100:
            engine.steps_per_call = steps_per_call
            run, _ = engine.advance(run, 100)


def with_huge_weights(run: checkpoints.Run) -> checkpoints.Run:
    """The run with parameters that are finite, but too large for an evaluation to be."""
    huge = tf.nest.map_structure(lambda p: tf.fill(p.shape, 1e38), run.state.params)
    return run._replace(state=run.state._replace(params=huge), rows=())


def test_an_evaluation_that_is_not_finite_is_not_recorded(tiny, tmp_path):
    # NaN would pass for a result; whoever reads the curve later cannot know what happened.
    training.train(tiny, tmp_path)
    engine = training.Engine(tiny, data.load("digits"))
    checkpoints.save(tiny, with_huge_weights(checkpoints.load(tiny, engine.initial_state)))
    kept = checkpoints.path(tiny).read_bytes()
    with pytest.raises(DivergedError, match=r"value, .*on t.* is not finite.*\(4,000 samples\).*learning_rate"):
        training.train(tiny, tmp_path / "other")
    assert checkpoints.path(tiny).read_bytes() == kept and not (tmp_path / "other").exists()


def test_log_px_of_a_model_that_is_not_finite_is_not_recorded(tiny):
    # The estimators refuse it with an error of their own, or give a value that is not finite.
    engine = training.Engine(tiny.replace(metric="log_px"), data.load("digits"))
    engine.x_eval = {split: x[:10] for split, x in engine.x_eval.items()}
    with pytest.raises(DivergedError, match=r"log p.*no estimate|value.*not finite"):
        engine.evaluate(with_huge_weights(checkpoints.Run(engine.initial_state)), is_end=True)


def test_a_longer_checkpoint_is_not_taken_for_a_shorter_run_and_stays(tiny, tmp_path, capsys):
    # The record would say 2,000 samples with the weights and the bound after 4,000.
    shorter = tiny.replace(samples_total=2000)
    training.train(tiny, tmp_path / "long")
    further = checkpoints.path(tiny).read_bytes()
    again = training.train(shorter, tmp_path / "short")
    assert "at 4,000 samples, beyond the 2,000" in capsys.readouterr().err
    assert checkpoints.path(tiny).read_bytes() == further
    long, short = (records.load_weights(c, tmp_path / f) for c, f in ((tiny, "long"), (shorter, "short")))
    assert any((long[name] != short[name]).any() for name in long)
    assert set(again.curve["samples_evaluated"]) == {2000} and len(again.facts["kl_per_dimension"]) == 2
    checkpoints.path(tiny).unlink()
    assert training.train(shorter, tmp_path / "alone").curve[["value", "kl"]].equals(again.curve[["value", "kl"]])


@pytest.mark.parametrize(("batch_size", "ends_at"), [(100, 100_000), (128, 100_050)])
def test_a_run_ends_with_the_model_on_train_though_its_last_step_was_evaluated_before(
    tiny, tmp_path, batch_size, ends_at
):
    # A longer run that was stopped there evaluated test alone, and so did an evaluation point in the last step of all.
    def stop(samples: int, bound: float) -> None:
        if samples > ends_at:
            raise KeyboardInterrupt

    run = tiny.replace(batch_size=batch_size, samples_total=300_000)
    with pytest.raises(KeyboardInterrupt):
        training.train(run, tmp_path / "longer", stop)
    resumed = training.train(run.replace(samples_total=ends_at), tmp_path / "resumed").curve
    checkpoints.path(run).unlink()
    alone = training.train(run.replace(samples_total=ends_at), tmp_path / "alone").curve
    columns = ["samples_evaluated", "split", "measure", "value", "kl"]
    assert resumed[columns].equals(alone[columns])
    assert list(zip(alone["split"], alone["measure"], strict=True)) == [
        ("train", "running_mean"), ("train", "evaluated"), ("test", "evaluated")
    ]  # fmt: skip


def test_the_kl_of_each_latent_dimension_is_that_on_test(tiny):
    digits = data.load("digits")
    engine = training.Engine(tiny, digits)
    run = checkpoints.Run(engine.run_steps(engine.initial_state, 500)[0])
    digits = digits._replace(x_train=np.ones_like(digits.x_train))
    kl = training._facts(tiny, digits, run)["kl_per_dimension"]
    encoder = run.state.params.encoder
    on_train, on_test = (latent.kl_per_dimension(encoder, tf.constant(x)) for x in (digits.x_train, digits.x_test))
    np.testing.assert_allclose(kl, on_test, atol=1e-4)
    assert np.abs(on_train - on_test).max() > 1e-3, "the test needs splits that differ"


@pytest.mark.parametrize(("algorithm", "dtype"), [("aevb", np.float16), ("wake_sleep", np.float32)])
def test_weights_are_stored_in_half_precision_but_for_wake_sleeps(tiny, tmp_path, algorithm, dtype):
    # Fails if wake-sleep's are rounded: its narrow q(z|x) does not bear it.
    run = tiny.replace(algorithm=algorithm, samples_total=200)
    training.train(run, tmp_path)
    with np.load(tmp_path / run.run_id / records.WEIGHTS) as stored:
        assert {stored[name].dtype for name in stored.files if name != "run_id"} == {np.dtype(dtype)}
