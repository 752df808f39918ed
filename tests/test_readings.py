"""Readings of the paper: values that decide the runs of its figures, and nothing else."""

from typing import Literal, get_args, get_origin

import pytest

from replication import paths
from replication.config import LEFT_OUT_OF_NAMES, ConfigError, RunConfig, authors_of_2014
from replication.paper import comparison, evidence, experiments, names, notebook, readings, reference
from replication.paper.experiments import figure2, figure3
from replication.paper.plans import make_plan
from replication.runs import curves, records


def test_a_reading_decides_the_runs_of_the_papers_figures():
    # Fails if a reading does not reach the runs, or reaches what the paper did not draw.
    authors, text = (make_plan("paper", reading=name) for name in ("authors", "text"))
    assert {run.batch_size for run in figure2(authors) if run.dataset == "frey_face"} == {500}
    assert {run.batch_size for run in figure2(text)} == {100}
    assert {run.log_var_factor for run in figure2(text) + figure3(text)} == {1.0}
    for experiment in (experiments.estimators, experiments.minibatches, experiments.full_vb):
        assert experiment(authors) == experiment(text)


@pytest.mark.parametrize("name", list(readings.READINGS))
def test_a_reading_covers_every_dataset_and_algorithm(name):
    plan = make_plan("paper", reading=name)
    for figure, runs in (("figure2", figure2(plan)), ("figure3", figure3(plan))):
        for run in runs:
            assert (figure, run.dataset, run.algorithm) in plan.reading.choices


def test_an_override_goes_over_the_reading():
    chosen = make_plan("quick", overrides={"learning_rate": 0.1})
    assert {run.learning_rate for run in figure2(chosen) + figure3(chosen)} == {0.1}


def test_a_departure_from_the_text_is_said():
    # Fails if a choice of `authors` contradicts the text and the README does not say so.
    for (_, _, algorithm), choice in readings.AUTHORS.choices.items():
        common = authors_of_2014(algorithm)
        settings = [choice.settings, *choice.of_size.values()]
        own = {name for some in settings for name, value in some.items() if value != common.get(name)}
        assert bool(choice.leaves_the_text) == bool(own - {"learning_rate", "log_var_factor"})
    assert readings.departures(readings.TEXT) == []
    readme = (paths.ROOT / "README.md").read_text()
    assert [sentence for sentence in readings.departures(readings.AUTHORS) if f"- {sentence}\n" not in readme] == []


def test_the_units_alone_make_wake_sleep_leave_the_independent_gaussian():
    # Fails if the run with tanh units differs in more than the units, or if one with softplus units leaves, too.
    plan = make_plan("paper", reading="authors")
    softplus = [run for run in figure2(plan) if (run.dataset, run.algorithm) == ("frey_face", "wake_sleep")]
    tanh = [run.replace(hidden_units="tanh") for run in softplus]
    recorded = {"softplus": records.existing(softplus, "paper"), "tanh": records.existing(tanh, "paper")}
    leaves = evidence.escapes(recorded).set_index(["reading", "n_latent"])
    assert len(leaves.loc["softplus"]) == 4 and not leaves.loc["softplus"]["leaves at"].any()
    assert len(leaves.loc["tanh"]) >= 1 and leaves.loc["tanh"]["leaves at"].all()
    for n_latent, run in leaves.loc["tanh"].iterrows():
        assert run["updates"] <= leaves.loc[("softplus", n_latent), "updates"], "no shorter than the one that leaves"


def test_every_choice_of_the_authors_reading_names_its_source():
    # Fails if a setting comes in by a search or by taste.
    sentences = [choice.leaves_the_text for choice in readings.AUTHORS.choices.values() if choice.leaves_the_text]
    for sentence in [*sentences, *readings.AUTHORS.leaves_the_text.removesuffix(".").split(". ")]:
        assert "graphics" in sentence or "authors' code" in sentence or "that the authors read" in sentence, sentence
    plan, rates = make_plan("paper", reading="authors"), {}
    for run in (*figure2(plan), *figure3(plan)):
        alike = (run.metric, run.dataset, run.algorithm, run.n_train)
        assert run.learning_rate == rates.setdefault(alike, run.learning_rate), f"{alike}: one for all panels"
    assert set(rates.values()) <= {0.01, 0.02, 0.1}, "the paper's three"


def test_the_authors_warm_up_of_100_moves_the_parameters_from_the_102nd_step_on():
    runs = figure2(make_plan("paper", reading="authors"))
    assert {run.warm_up_steps for run in runs} == {101}
    assert {run.preparation for run in runs} == {"authors"} and {run.initialisation for run in runs} == {"near_zero"}
    assert {run.batch_size for run in runs if run.dataset == "frey_face"} == {500}


def test_an_unknown_reading_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"Unknown reading 'best'.*authors \(.*text \("):
        make_plan("paper", reading="best")


def test_figures_of_another_reading_do_not_replace_the_standard_ones():
    assert make_plan("paper", reading="text").figure_suffix == "-reading=text"


@pytest.mark.parametrize(
    ("reading", "datasets", "said"),
    [
        ("text", "digits", "reading = 'text' has no effect on digits: "),
        ("text", "mnist,digits", "reading = 'text' has no effect on digits: "),
        ("text", "mnist", ""),
        ("authors", "digits", ""),
    ],
)
def test_a_reading_without_effect_is_said(capsys, reading, datasets, said):
    # Fails if a reader takes runs of digits for those of a reading: no reading sets anything for them.
    plan = notebook.make_plan("quick", 0, datasets, reading, {})
    printed = capsys.readouterr().out
    assert printed.startswith(said) and printed.count("\n") == bool(said)
    standard = figure2(plan._replace(reading=readings.STANDARD))
    assert bool(said) == ("digits" in plan.datasets and plan.reading is not readings.STANDARD)
    assert [run for run in figure2(plan) if run.dataset == "digits" and run not in standard] == []


@pytest.mark.parametrize("name", LEFT_OUT_OF_NAMES)
def test_each_setting_in_which_runs_differ_has_plain_words(name):
    # Two records, or two readings, may differ in any of these. Fails with a KeyError, or if a reader is shown the value
    # as it is stored, such as near_zero.
    field = RunConfig.model_fields[name]
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else (0.5,)
    for value in values:
        said = names.choice({name: value})
        assert value == LEFT_OUT_OF_NAMES[name] or (said not in ("the text", str(value)) and "_" not in said)


def test_the_table_of_readings_says_every_setting_of_the_authors_runs():
    # By hand: what a run differs in from the paper's words is either common to all runs or in its row.
    common, table = evidence.common_settings(), evidence.settings_of_readings()
    assert common == (
        "start of the authors' code of April 2014, the authors' images and split, the authors' choice of weights with "
        "a prior"
    )
    last = table.set_index(["figure", "algorithm", "dataset"]).loc[("2", "wake-sleep", "Frey Face")]
    assert last["beside it"] == "101 warm-up steps, M = 500, encoder's log variance at 0.1, softplus units"
    assert table["rate, authors"].tolist()[-3:] == ["0.1, 0.02 with N = 50000", "0.1, 0.02 with N = 50000", "0.1"]
    assert table["beside it"].tolist()[-2:] == [
        "101 warm-up steps, encoder's log variance at 0.1, no warm-up with N = 50000",
        "2 warm-up steps, leapfrog steps count, no warm-up with N = 1000",
    ]


def test_units_are_compared_where_the_paper_draws_both_splits():
    # Fails where a run goes further than the paper's curve on train is drawn.
    table = evidence.units_on_frey_face()
    assert len(table) == 8 and table.notna().all(axis=None)
    assert (table.groupby("n_latent")["samples"].nunique() == 1).all()


def test_the_early_distance_of_units_is_on_test():
    # Recomputed for one panel. Fails if it is on train, where the paper's first points are means since the start.
    plan = make_plan("paper", reading="authors")
    (run,) = [run for run in figure2(plan) if (run.dataset, run.algorithm, run.n_latent) == ("frey_face", "aevb", 10)]
    compared = comparison.compare(curves.table([records.require(run, paths.runs("paper"))]))
    early = compared[(compared["split"] == "test") & compared["point"].between(500_000, 3_000_000)]["difference"].abs()
    row = evidence.units_on_frey_face().query("n_latent == 10 and hidden_units == 'softplus'")
    assert row["early"].item() == pytest.approx(early.mean())


def test_the_tries_of_wake_sleep_stand_below_the_papers_own_points():
    # Fails if a try is compared with another curve's point, or if the paper's rows are mixed with ours.
    table = evidence.wake_sleep_tried()
    is_papers = table["changed"] == "the paper"
    assert is_papers.sum() == 3 and is_papers[:3].all()
    first = reference.vertices().query("dataset == 'frey_face' and algorithm == 'wake_sleep' and point == 1")
    for row in table[is_papers].to_dict("records"):
        drawn = first[first["size"] == row["n_latent"]].set_index("split")["value"]
        assert row["train_1"] == pytest.approx(drawn["train"]) and row["test_1"] == pytest.approx(drawn["test"])
