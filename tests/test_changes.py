"""A changed assumption stands beside the standard run, and what it did is the difference of their recorded values."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from replication import paths
from replication.paper import answers, changes, evidence, experiments, plans
from replication.runs import load_or_train, records, training
from replication.runs.records import Record


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Runs are trained here, in this process; a few steps take longer to compile than to take."""

    def train_here(configs, folder):
        for config in configs:
            training.train(config, folder)

    monkeypatch.setattr(paths, "out", lambda profile: tmp_path)
    monkeypatch.setattr(load_or_train, "train_all", train_here)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def _plan(**overrides) -> plans.Plan:
    return plans.make_plan("smoke", overrides={"samples_total": 500, "n_latent": 2, **overrides})


def _runs(plan: plans.Plan) -> list[Record]:
    return load_or_train.load_or_train(experiments.figure2(plan), plan.profile)


def _not_run(plan: plans.Plan) -> list[Record]:
    return [Record(config, pd.DataFrame(), {}) for config in experiments.figure2(plan)]


def test_the_effect_is_the_difference_to_the_standard_run_which_is_trained():
    # Fails if the pairs are of two algorithms, if the sign is wrong, or if the standard run has the change, too.
    plan = _plan(initialisation="fan_in")
    runs = _runs(plan)
    change = changes.beside_standard(experiments.figure2, plan, runs)
    assert change.words == "initialisation = fan_in" and change.n_alone == 0
    for run in runs:
        plain = records.require(run.config.replace(initialisation="paper_sd"), paths.runs("smoke"))
        ours, theirs = (
            record.curve.query("split == 'test' and samples_evaluated == 500").iloc[0] for record in (run, plain)
        )
        row = change.effect.query("split == 'test' and algorithm == @run.config.algorithm").iloc[0]
        assert row["difference"] == pytest.approx(ours["value"] - theirs["value"]) != 0
        assert np.isnan(row["by_chance"])
    assert set(change.standard["initialisation"]) == {"paper_sd"}
    said = " ".join(answers.change(change))
    assert "not known what chance does" in said and "nan" not in said, "no seeds, no count of clear changes"


@pytest.mark.parametrize(
    ("experiment", "reading", "datasets", "is_said"),
    [
        (experiments.estimators, "text", None, True),
        (experiments.full_vb, "text", None, True),
        (experiments.figure2, "text", None, False),
        (experiments.estimators, "authors", None, False),
        (experiments.estimators, "text", "digits", False),  # the plan has said so of all runs
    ],
)
def test_a_reading_that_changes_no_run_of_a_notebook_is_said(capsys, experiment, reading, datasets, is_said):
    # Fails if a reader takes the figures of notebooks 1 and 6 for those of the reading that was asked for.
    experiments.forget_what_was_said()
    plan = plans.make_plan("quick", reading=reading, datasets=datasets)
    changes.beside_standard(experiment, plan, [])
    said = f"reading = {reading!r} has no effect on these runs: they are the same under 'authors'.\n"
    assert capsys.readouterr().out == (said if is_said else "")


@pytest.mark.parametrize("overrides", [{}, {"algorithm": "aevb"}, {"n_latent": 20}, {"samples_total": 300}])
def test_what_only_chooses_runs_or_their_length_is_no_change(overrides):
    # Fails if a run is compared with itself, or if standard runs are trained for nothing.
    plan = _plan(**overrides)
    assert changes.beside_standard(experiments.figure2, plan, _not_run(plan)) is changes.NO_CHANGE
    assert answers.change(changes.NO_CHANGE) == []


def test_a_change_to_what_is_standard_is_said_to_be_none():
    plan = _plan(initialisation="paper_sd")
    change = changes.beside_standard(experiments.figure2, plan, _not_run(plan))
    assert change.effect.empty
    (said,) = answers.change(change)
    assert said == "With initialisation = paper_sd the runs are the standard ones: nothing is changed."


def test_what_chance_does_is_told_by_the_recorded_seeds_where_there_are_several():
    # By hand: root two times the standard deviation over the three recorded seeds at 500,000 samples.
    plan = plans.make_plan("quick", datasets="mnist", overrides={"n_latent": 20, "targets": "binarised"})
    standard = records.existing(experiments.figure2(plan._replace(overrides={"n_latent": 20})), "paper")
    runs = [
        Record(record.config.replace(targets="binarised"), record.curve.assign(value=record.curve["value"] + 1), {})
        for record in standard
    ]
    change = changes.beside_standard(experiments.figure2, plan, runs)
    of_aevb = change.effect.query("split == 'test' and algorithm == 'aevb'").iloc[0]
    others = records.existing(experiments.other_seeds(plan._replace(overrides={"n_latent": 20})), "paper")
    several = [standard[0], *(record for record in others if record.config.algorithm == "aevb")]
    ends = [r.curve.query("split == 'test' and samples_evaluated == 500_000")["value"].item() for r in several]
    assert len(ends) == 3
    assert of_aevb["by_chance"] == pytest.approx(2**0.5 * np.std(ends, ddof=1))
    assert of_aevb["difference"] == pytest.approx(1)
    on_test = change.effect.query("split == 'test'")
    higher = on_test.eval("difference > 2 * by_chance").sum()
    said = " ".join(answers.change(change))
    assert f"by more than 2 of these {higher} of {len(on_test)} pairs of runs are higher" in said


@pytest.mark.parametrize(
    ("experiment", "overrides"),
    [(experiments.full_vb, {"n_train": 1000}), (experiments.full_vb, {"algorithm": "full_vb", "n_train": 100}),
     (experiments.figure3, {"n_train": 1000}), (experiments.samples, {"n_latent": 5})],
)  # fmt: skip
def test_a_size_that_an_experiment_varies_chooses_among_its_runs(experiment, overrides):
    # Fails if models of 1000 images are compared with those of 50,000 as if that were an assumption.
    plan = plans.make_plan("quick", datasets="mnist", overrides=overrides)
    runs = [Record(config, pd.DataFrame(), {}) for config in experiment(plan)]
    assert changes.beside_standard(experiment, plan, runs) is changes.NO_CHANGE


def test_a_size_that_an_experiment_does_not_vary_is_an_assumption():
    plan = plans.make_plan("paper", datasets="mnist", overrides={"n_train": 1000, "n_latent": 20})
    standard = records.existing(experiments.figure2(plan._replace(overrides={"n_latent": 20})), "paper")
    runs = [Record(record.config.replace(n_train=1000), record.curve, {}) for record in standard]
    change = changes.beside_standard(experiments.figure2, plan, runs)
    assert change.words == "n_train = 1000" and set(change.standard["n_train"]) == {50_000}


@pytest.mark.slow
def test_full_vb_is_compared_without_what_its_weights_cost_and_can_be_decoded():
    # By hand from the files, on train and test. Fails if the KL of the weights counts for one algorithm and not for the
    # other, or if a split is missing, since a standard run does not reach its own end.
    plan = plans.make_plan("smoke", overrides={"samples_total": 600, "initialisation": "fan_in"})
    runs = load_or_train.load_or_train(experiments.full_vb(plan), plan.profile)
    change = changes.beside_standard(experiments.full_vb, plan, runs, evidence.without_weights, to_the_end=True)
    assert {(row.algorithm, row.split) for row in change.effect.itertuples()} == {
        (algorithm, split) for algorithm in ("aevb", "full_vb") for split in ("train", "test")
    }
    for run, plain in zip(runs, change.decodable, strict=True):
        assert plain.config == run.config.replace(initialisation="paper_sd")
        assert records.load_weights(plain.config, paths.runs("smoke"))
        column = "bound_sampled" if run.config.algorithm == "full_vb" else "value"
        for split in ("train", "test"):
            rows = f"split == '{split}' and measure == 'evaluated'"
            ours, theirs = (record.curve.query(rows)[column].iloc[-1] for record in (run, plain))
            effect = change.effect.query("algorithm == @run.config.algorithm and split == @split")
            assert effect["difference"].item() == pytest.approx(ours - theirs) != 0


def test_a_standard_run_to_its_end_is_never_a_longer_one_that_was_cut(monkeypatch):
    # Fails if notebook 5 has no weights to draw samples with: those that are recorded are of the longer run's end.
    plan = plans.make_plan("quick", datasets="mnist", overrides={"n_latent": 20, "targets": "binarised"})
    trained = []
    monkeypatch.setattr(changes, "load_or_train", lambda configs, profile: trained.extend(configs) or [])
    runs = [Record(config, pd.DataFrame(), {}) for config in experiments.samples(plan)]
    assert len(records.existing([run.config.replace(targets="grey") for run in runs], "paper")) == 1
    change = changes.beside_standard(experiments.samples, plan, runs, to_the_end=True)
    assert [config.targets for config in trained] == ["grey"] and change.n_alone == 1


def test_other_sizes_and_estimators_have_no_seeds_of_figure_2():
    # Fails if three seeds of 500 hidden units and all images say what chance does to 100 units and 100 images, or what
    # it does to the score function.
    for experiment in (experiments.full_vb, experiments.estimators):
        plan = plans.make_plan("quick", datasets="mnist", overrides={"targets": "binarised"})
        standard = records.existing(experiment(plan._replace(overrides={})), "paper")
        runs = [Record(record.config.replace(targets="binarised"), record.curve, {}) for record in standard]
        effect = changes.beside_standard(experiment, plan, runs).effect
        known = effect[effect["by_chance"].notna()]
        if experiment is experiments.estimators:
            assert set(effect["estimator"]) > set(known["estimator"]) == {"sgvb_b"}
        else:
            assert len(effect) and known.empty


def test_at_paper_scale_a_missing_standard_run_is_said_not_trained(monkeypatch):
    # Fails if a notebook trains for hours what nobody asked for, or is silent on it.
    monkeypatch.setattr(load_or_train, "train_all", lambda *arguments: pytest.fail("trained a standard run"))
    plan = plans.make_plan("paper", seed=7, datasets="mnist", overrides={"n_latent": 20, "targets": "binarised"})
    change = changes.beside_standard(experiments.figure2, plan, _not_run(plan))
    assert change.n_alone == 2 and "2 runs with targets = binarised have no standard run" in " ".join(
        answers.change(change)
    )


def test_a_standard_run_that_is_recorded_from_later_on_only_is_said_to_be_none(monkeypatch):
    # A complete record of the profile begins at 100,000 samples. Fails if a change that is tried with fewer ends with
    # an error after its training.
    plan = _plan(initialisation="fan_in")
    rows = [{"samples_evaluated": 100_000, "split": "test", "measure": "evaluated", "value": -20.0, "seconds": 1.0}]
    for config in experiments.figure2(plan._replace(overrides={"n_latent": 2})):
        records.save(config, rows, {}, paths.runs("smoke"))
    monkeypatch.setattr(load_or_train, "train_all", lambda *arguments: pytest.fail("trained a run that is recorded"))
    change = changes.beside_standard(experiments.figure2, plan, _not_run(plan))
    assert change.n_alone == 2 and change.effect.empty
    assert "2 runs with initialisation = fan_in have no standard run" in " ".join(answers.change(change))
