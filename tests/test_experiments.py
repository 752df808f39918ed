"""The paper's experiments as lists of runs, and what may be asked for."""

import re
import subprocess
import sys

import nbformat
import pytest

from replication import paths
from replication.config import ConfigError
from replication.paper import experiments, reference
from replication.paper.experiments import (
    all_runs,
    decoded,
    estimators,
    figure2,
    figure3,
    manifolds,
    minibatches,
    runs_of_notebook,
)
from replication.paper.plans import make_plan
from replication.plots import figures


def test_figure_2_has_the_papers_18_runs():
    runs = figure2(make_plan("paper"))
    assert len({run.run_id for run in runs}) == 18
    panels = {(run.dataset, run.n_latent) for run in runs}
    assert panels == {("mnist", n) for n in (3, 5, 10, 20, 200)} | {("frey_face", n) for n in (2, 5, 10, 20)}
    assert {run.n_hidden for run in runs if run.dataset == "mnist"} == {500}
    assert {run.n_hidden for run in runs if run.dataset == "frey_face"} == {200}
    assert all(run.samples_total == 1e8 for run in runs)


def test_figure_3_goes_as_far_as_the_papers_curves_or_its_axis():
    # Fails if a panel is judged before the paper's curves end: those of N = 1000 end at 6e7, as the axis does.
    edges = reference.curves(metric="log_px").groupby("size")["samples_evaluated"].max()
    for run in figure3(make_plan("paper")):
        assert run.samples_total >= min(edges[run.n_train], 1e6 * figures.X_LIMITS_3[1])


def test_profiles_share_runs_and_differ_in_length():
    # So that a paper-scale run continues a quick one.
    quick, paper = figure2(make_plan("quick")), figure2(make_plan("paper"))
    assert [run.run_id for run in quick] == [run.run_id for run in paper]
    assert {run.samples_total for run in quick} == {500_000, 1_000_000}


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_a_run_that_two_experiments_share_is_trained_once_to_the_longer_end(profile):
    # Twice in the batch, two processes would write one checkpoint.
    chosen = make_plan(profile)
    runs = {run.run_id: run.samples_total for run in all_runs(chosen)}
    assert len(runs) == len(all_runs(chosen))
    for run in estimators(chosen) + minibatches(chosen) + figure2(chosen):
        assert runs[run.run_id] >= run.samples_total


def test_overrides_reach_every_run_and_the_figures_name():
    chosen = make_plan("quick", seed=3, overrides={"initialisation": "fan_in"})
    assert all(run.initialisation == "fan_in" and run.seed == 3 for run in figure2(chosen))
    assert chosen.figure_suffix == "-seed=3-initialisation=fan_in"


def test_many_overrides_give_a_name_that_a_disk_takes():
    # Fails if a figure cannot be written after hours of training, or if two of them share a name.
    many = {"initialisation": "paper_variance", "targets": "binarised", "hidden_units": "softplus", "batch_size": 50,
            "learning_rate": 0.123456, "warm_up_steps": 123456, "n_mc_samples": 12, "weight_prior": 0.123}  # fmt: skip
    one, other = (make_plan("paper", overrides={**many, "n_hidden": n}).figure_suffix for n in (100, 101))
    assert max(len(one), len(other)) < 200 and one != other and one.startswith("-initialisation=paper_variance-")


def test_a_figure_of_some_datasets_does_not_replace_the_standard_one():
    assert make_plan("paper", datasets="mnist").figure_suffix == "-datasets=mnist"
    standard = [
        make_plan("paper"),
        make_plan("paper", datasets="mnist, frey_face"),
        make_plan("smoke", datasets="digits"),
    ]
    assert [chosen.figure_suffix for chosen in standard] == ["", "", ""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "fast"}, "Unknown profile 'fast'.*smoke.*quick.*paper"),
        ({"profile": "quick", "datasets": "mnist,cifar"}, "Unknown dataset 'cifar'.*mnist, frey_face, digits"),
        ({"profile": "quick", "datasets": []}, "Unknown dataset"),
        ({"profile": "smoke", "datasets": "mnist"}, "does not run on mnist"),
        ({"profile": ["quick"]}, r"Unknown profile \['quick'\]"),
        ({"profile": 5}, "Unknown profile 5"),
        ({"profile": "quick", "reading": ["text"]}, r"Unknown reading \['text'\].*authors"),
        ({"profile": "quick", "reading": {"text": 1}}, "Unknown reading"),
        ({"profile": "quick", "datasets": 5}, "datasets = 5 is no list of names.*-p datasets mnist,digits"),
        ({"profile": "quick", "datasets": [["mnist"]]}, "is no list of names"),
        ({"profile": "quick", "datasets": {"mnist": 1}}, "is no list of names"),
        ({"profile": "quick", "datasets": ""}, "Unknown dataset ''"),
        ({"profile": "quick", "seed": 2.0}, "seed: 2.0 is not written as a whole number.*-p seed 2"),
        ({"profile": "quick", "seed": "two"}, "seed: 'two' is not a number"),
        ({"profile": "quick", "seed": None}, "seed: .*None"),
        ({"profile": "quick", "seed": [1]}, "seed: "),
        ({"profile": "quick", "seed": -1}, "seed: .*greater than or equal to 0"),
        ({"profile": "quick", "overrides": "initialisation: fan_in"}, "do not map.*-y 'overrides: {init"),
        ({"profile": "quick", "overrides": ["n_latent", 3]}, "do not map.*-y 'overrides: {init"),
        ({"profile": "quick", "overrides": {5: 3}}, "do not map.*-y 'overrides: {init"),
        ({"profile": "quick", "overrides": {"n_latnet": 3}}, "(?s)n_latnet: unknown setting.*-y 'overrides: {init"),
        ({"profile": "quick", "overrides": {"self": 1}}, "self: unknown setting"),
        ({"profile": "quick", "overrides": {"n_latent": [3, 5]}}, "(?s)n_latent: .*-y 'overrides: {init"),
        ({"profile": "quick", "overrides": {"n_latent": None}}, "(?s)n_latent: .*-y 'overrides: {init"),
        ({"profile": "quick", "overrides": {"initialisation": {"a": 1}}}, "(?s)initialisation: .*-y 'overrides"),
        ({"profile": "quick", "overrides": {"dataset": "digits"}}, "dataset is no override.*parameter datasets"),
        ({"profile": "quick", "overrides": {"seed": 1}}, "seed is no override.*parameter of its own"),
        ({"profile": "quick", "overrides": {"metric": "log_px"}}, "metric is no override"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_words(arguments, message):
    # Fails if a value of the wrong type ends in a TypeError, or where it is used, after the training.
    with pytest.raises(ConfigError, match=message):
        make_plan(**arguments)


def test_a_whole_number_that_yaml_reads_as_a_fraction_is_that_number():
    as_a_fraction = make_plan("quick", overrides={"n_latent": 7.0})
    assert {run.n_latent for run in figure2(as_a_fraction)} == {7}
    assert as_a_fraction.figure_suffix == make_plan("quick", overrides={"n_latent": 7}).figure_suffix


def test_an_override_leaves_out_the_dataset_that_does_not_admit_it(capsys):
    # Fails if one dataset's refusal stops the whole notebook, or if its runs vanish without a word.
    experiments._say_once.cache_clear()
    chosen = make_plan("quick", overrides={"targets": "binarised"})
    runs = figure2(chosen)
    assert {run.dataset for run in runs} == {"mnist"} and {run.targets for run in runs} == {"binarised"}
    assert len(runs) == len([run for run in figure2(make_plan("quick")) if run.dataset == "mnist"])
    all_runs(chosen)
    said = "Some runs are left out: frey_face has a Gaussian likelihood: there is nothing to binarise.\n"
    assert capsys.readouterr().out == said
    assert manifolds(make_plan("quick", datasets="frey_face", overrides={"targets": "binarised"})) == []


def test_an_override_leaves_out_the_algorithm_that_does_not_admit_it(capsys):
    experiments._say_once.cache_clear()
    chosen = make_plan("quick", overrides={"log_var_factor": 0.1})
    assert {run.algorithm for run in figure2(chosen) + figure3(chosen)} == {"wake_sleep"}
    assert capsys.readouterr().out.count("aevb does not use log_var_factor, only wake_sleep") == 1
    assert decoded(chosen) == []


EXPERIMENTS = dict.fromkeys(one for several in experiments.EXPERIMENTS_OF_NOTEBOOK.values() for one in several)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("overrides", [{}, {"n_latent": 3}, {"n_train": 500}, {"algorithm": "aevb"}, {"n_latent": 200}])
def test_an_experiment_has_each_run_once(experiment, overrides):
    # Fails if a dataset named twice, or an override of what an experiment runs through, doubles its runs: two copies of
    # one run would count as two seeds. Under `text` copies differ where a size has a learning rate of its own.
    runs = experiment(make_plan("quick", datasets="mnist,mnist,digits", reading="text", overrides=overrides))
    which = [(run.dataset, run.algorithm, run.n_latent, run.n_train, run.batch_size, run.n_mc_samples, run.estimator)
             for run in runs]  # fmt: skip
    has_none = experiment is manifolds or (experiment is figure3 and overrides == {"n_latent": 200})  # no log p(x)
    assert (runs or has_none) and len(which) == len(set(which))


def test_a_number_of_training_datapoints_is_that_of_monte_carlo_em_too():
    # Fails if its batch stays the figure's N: such a run is refused, and the figure loses one of three algorithms.
    runs = figure3(make_plan("quick", datasets="digits", overrides={"n_train": 500}))
    assert [(run.algorithm, run.n_train, run.batch_size) for run in runs] == [
        ("aevb", 500, 100), ("wake_sleep", 500, 100), ("mcem", 500, 500)
    ]  # fmt: skip
    assert figure3(make_plan("quick", datasets="frey_face", overrides={"n_train": 500})) == []


def test_an_override_chooses_among_the_algorithms_of_a_figure(capsys):
    # Fails if AEVB is trained in wake-sleep's place with wake-sleep's settings, or a figure shows what it is not about.
    experiments.forget_what_was_said()
    assert {run.algorithm for run in figure2(make_plan("paper", overrides={"algorithm": "aevb"}))} == {"aevb"}
    assert figure2(make_plan("paper", overrides={"algorithm": "aevb"})) == [
        run for run in figure2(make_plan("paper")) if run.algorithm == "aevb"
    ]
    assert manifolds(make_plan("quick", overrides={"n_latent": 10})) == []
    said = "Some runs are left out: they are about n_latent = 2, not 10.\n"
    assert capsys.readouterr().out == said


def test_an_override_of_what_an_experiment_varies_is_refused():
    # Fails if it is ignored: the figure would be named after a change that did not happen.
    with pytest.raises(ConfigError, match="varies n_mc_samples itself"):
        estimators(make_plan("quick", overrides={"n_mc_samples": 4}))
    with pytest.raises(ConfigError, match="varies batch_size itself"):
        minibatches(make_plan("quick", overrides={"batch_size": 50}))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"learning_rate": "1e-4"}, r"write 1\.0e-4"), ({"learnign_rate": 0.1}, "learnign_rate: unknown setting")],
)
def test_wrong_override_is_refused_when_the_runs_are_made(overrides, message):
    # Such a mistake must stop the notebook even where another run is left out.
    with pytest.raises(ConfigError, match=message):
        figure2(make_plan("quick", overrides={"targets": "binarised", **overrides}))


@pytest.mark.parametrize("notebook", sorted(paths.NOTEBOOKS.glob("[0-9]_*.ipynb")), ids=lambda path: path.stem)
def test_the_batch_trains_what_a_notebook_asks_for(notebook):
    # Otherwise the notebook trains it by itself, run after run, inside one job of the batch.
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    asked = set(re.findall(r"\bexperiments\.(\w+)\(plan\)", "\n".join(cells))) - {"other_seeds"}  # where recorded
    chosen = make_plan("quick")
    known = {run.run_id: run.samples_total for run in runs_of_notebook(notebook.stem, chosen)}
    for run in (run for name in asked for run in getattr(experiments, name)(chosen)):
        assert known[run.run_id] >= run.samples_total


def test_figure_3_has_the_papers_six_runs():
    runs = figure3(make_plan("paper"))
    assert {(run.n_train, run.algorithm) for run in runs} == {
        (n, algorithm) for n in (1000, 50_000) for algorithm in ("aevb", "wake_sleep", "mcem")
    }
    assert {(run.dataset, run.n_latent, run.n_hidden, run.metric) for run in runs} == {("mnist", 3, 100, "log_px")}
    assert {run.batch_size for run in runs if run.algorithm == "mcem"} == {1000, 50_000}


def test_the_command_line_imports_no_ipython():
    # Fails if what a notebook may be told moves back to the modules that list the runs.
    command = "import sys; from replication.paper import experiments; sys.exit('IPython' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], cwd=paths.ROOT).returncode == 0
