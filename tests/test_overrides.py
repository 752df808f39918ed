"""Every notebook with every override of a single setting on digits, and on two datasets: it runs, or is refused."""

import contextlib
import io
from typing import Literal, get_args, get_origin

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest
import tensorflow as tf

matplotlib.use("agg")

from replication import paths
from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.paper import experiments, plans, profiles
from replication.runs import load_or_train, training

FEW = 300  # training samples
SIZES = profiles.SIZES["smoke"]._replace(
    figure2_samples={"digits": FEW},
    figure3_samples=FEW,
    figure3_n_evaluated=20,
    estimators_samples=FEW,
    minibatches_samples=FEW,
    full_vb_samples=FEW,
    variance_points=(0, FEW),
    variance_pairs=3,
)
BOTH = ("mnist", "digits")
SIZES_OF_BOTH = SIZES._replace(
    figure2_samples=dict.fromkeys(BOTH, FEW),
    figure2_n_latent=dict.fromkeys(BOTH, (2, 20)),
    figure3_n_train=dict.fromkeys(BOTH, (297,)),
    full_vb_n_train=dict.fromkeys(BOTH, (297,)),
)
NUMBERS = {
    "n_latent": (1, 2, 10), "n_hidden": (5,), "samples_total": (200,), "n_train": (100,), "batch_size": (7,),
    "n_mc_samples": (2,), "learning_rate": (0.05,), "warm_up_steps": (2,), "log_var_factor": (0.1,),
    "decoder_log_var_factor": (0.1,), "weight_prior": (0.0,), "n_evaluated": (10,),
}  # fmt: skip
FEWER = {"min(8000,": "min(100,"}  # steps of the visible loop of notebook 0
NOTEBOOKS = list(experiments.EXPERIMENTS_OF_NOTEBOOK)


def single_overrides() -> list[dict]:
    """Every choice of a setting and some sizes; a new number needs an entry in NUMBERS."""
    fields = {name: field for name, field in RunConfig.model_fields.items() if name not in plans.SET_OTHERWISE}
    values = {
        name: get_args(field.annotation) if get_origin(field.annotation) is Literal else NUMBERS[name]
        for name, field in fields.items()
    }
    return [{name: value} for name in values for value in values[name] if value != fields[name].default]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The records of all cases: notebooks share runs."""
    return tmp_path_factory.mktemp("overrides")


@pytest.fixture
def execute(folder, monkeypatch):
    """Execute the code cells of a notebook in this process, under the profile smoke with FEW samples."""
    monkeypatch.setattr(paths, "out", lambda profile: folder / "out")
    monkeypatch.setattr(paths, "figures", lambda profile: folder / "figures")
    monkeypatch.setitem(profiles.SIZES, "smoke", SIZES)
    monkeypatch.setattr(load_or_train, "train_all", _train_here)

    def execute(name: str, overrides: dict, n_cells: int | None = None, datasets: str | None = None) -> None:
        cells = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        parameters = {"profile": "smoke", "seed": 0, "reading": "authors", "overrides": overrides}
        namespace = {"__name__": "__main__", "datasets": datasets, **parameters}
        for cell in (cell for cell in code[:n_cells] if "parameters" not in cell.metadata.get("tags", [])):
            source = cell.source
            for many, few in FEWER.items():
                source = source.replace(many, few)
            exec(compile(source, name, "exec"), namespace)
            plt.close("all")

    return execute


def _train_here(configs: list[RunConfig], folder) -> None:
    """Train what is missing without starting processes; a few steps take longer to compile than to take."""
    for config in configs:
        tf.config.run_functions_eagerly(config.metric == "bound")  # log p(x) takes thousands of steps
        try:
            training.train(config, folder)
        finally:
            tf.config.run_functions_eagerly(False)


def _runs_or_is_refused(execute, name: str, overrides: dict, n_cells: int | None = None) -> str:
    """What the user reads where it is refused; any other error is raised."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            execute(name, overrides, n_cells)
        except ReplicationError as error:
            return f"{said.getvalue()}{error}"
    return ""


@pytest.mark.parametrize(
    ("name", "overrides", "refusal"),
    [
        ("0_method", {"n_latent": 2}, ""),
        ("0_method", {"algorithm": "wake_sleep"}, "no run with these settings"),
        ("2_lower_bound", {"algorithm": "aevb"}, ""),
        ("4_manifolds", {"n_latent": 10}, "they are about n_latent = 2, not 10"),
        ("5_samples", {"n_latent": 10}, ""),
        ("7_explorer", {"algorithm": "wake_sleep"}, "no model to explore"),
    ],
)
def test_the_first_screen_runs_or_is_refused_in_words(execute, name, overrides, refusal):
    # Fails if a notebook counts on a run that an override leaves out: KeyError 20, KeyError 0.
    said = _runs_or_is_refused(execute, name, overrides, n_cells=3)
    assert refusal in said and bool(said) == bool(refusal)


def test_an_override_that_a_later_experiment_refuses_is_refused_before_the_first_trains(execute, monkeypatch):
    monkeypatch.setattr(load_or_train, "train_all", lambda *arguments: pytest.fail("trained before the refusal"))
    said = _runs_or_is_refused(execute, "1_estimators", {"batch_size": 7}, n_cells=2)
    assert "varies batch_size itself" in said


def test_the_explorer_has_no_map_of_a_single_latent_dimension(execute):
    execute("5_samples", {"n_latent": 1}, n_cells=2)  # trains the model
    said = _runs_or_is_refused(execute, "7_explorer", {"n_latent": 1})
    assert "no recorded run with two latent dimensions or more" in said


@pytest.mark.overrides
@pytest.mark.parametrize("overrides", single_overrides(), ids=str)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_or_is_refused_in_words(execute, name, overrides):
    # With the runs that a batch would train before it, and those without the override, which the verdict shows too.
    def after_its_runs(name: str, overrides: dict, n_cells: int | None) -> None:
        for changes in ({}, overrides):
            _train_here(
                experiments.runs_of_notebook(name, plans.make_plan("smoke", overrides=changes)), paths.runs("smoke")
            )
        execute(name, overrides, n_cells)

    _runs_or_is_refused(after_its_runs, name, overrides)


@pytest.mark.overrides
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_shows_two_datasets_whose_sizes_are_alike(execute, monkeypatch, load_or_skip, name):
    # Fails if a table has a row for two runs, one of each, or if images of one have the shape of the other.
    load_or_skip("mnist")
    monkeypatch.setitem(profiles.SIZES, "smoke", SIZES_OF_BOTH)
    plan = plans.make_plan("smoke", datasets=BOTH)
    _train_here(experiments.runs_of_notebook(name, plan), paths.runs("smoke"))
    execute(name, {}, datasets=",".join(BOTH))
