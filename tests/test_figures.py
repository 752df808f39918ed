"""What figures 2 and 3 draw are the numbers that they are given, in the paper's layout."""

import errno
import os
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from replication.errors import RecordError
from replication.paper import reference
from replication.paper.changes import NO_CHANGE
from replication.paper.profiles import N_LATENT_FIGURE_2
from replication.plots import figures, palette


@pytest.fixture
def curves() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"metric": "bound", "dataset": dataset, "size": n, "algorithm": algorithm, "split": split, "seed": 0,
         "samples_evaluated": s, "value": (-120 if dataset == "mnist" else 800) + rng.normal()}
        for dataset in ("mnist", "frey_face") for n in N_LATENT_FIGURE_2[dataset]
        for algorithm in ("aevb", "wake_sleep") for split in ("train", "test") for s in (1e5, 1e6, 1e7)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def visible(figure) -> list:
    return [axes for axes in figure.axes if axes.get_visible()]


def test_layout_is_the_papers(curves):
    panels = visible(figures.figure2(curves, reference.curves(metric="bound")))
    titles = [axes.get_title() for axes in panels]
    assert titles == [f"MNIST, Nz = {n}" for n in (3, 5, 10, 20, 200)] + [
        f"Frey Face, Nz = {n}" for n in (2, 5, 10, 20)
    ]
    assert all(axes.get_xscale() == "log" for axes in panels)
    assert [axes.get_xlim() for axes in panels] == [(1e5, 2.5e8)] * 5 + [(1e5, 1e8)] * 4
    assert {axes.get_ylim() for axes in panels} == {(-150, -95), (0, 1600)}


def test_every_plotted_line_is_a_curve_of_ours_or_the_papers(curves):
    # Fails if a panel shows another panel's data or drops a split.
    paper = reference.curves(metric="bound")
    for axes, (dataset, n) in zip(
        visible(figures.figure2(curves, paper)),
        [("mnist", n) for n in (3, 5, 10, 20, 200)] + [("frey_face", n) for n in (2, 5, 10, 20)],
        strict=True,
    ):
        drawn = {tuple(line.get_ydata()) for line in axes.lines}
        expected = set()
        for table in (curves, paper):
            panel = table[(table["dataset"] == dataset) & (table["size"] == n)]
            expected |= {tuple(curve["value"]) for _, curve in panel.groupby(["algorithm", "split"])}
        assert drawn == expected and len(drawn) == 8


def test_the_papers_curves_are_pale_and_in_the_colour_of_their_algorithm(curves):
    for axes in visible(figures.figure2(curves, reference.curves(metric="bound"))):
        colours = {line.get_color() for line in axes.lines}
        ours = {palette.ALGORITHMS[name] for name in ("aevb", "wake_sleep")}
        assert colours == ours | {palette.pale(colour) for colour in ours}


def test_several_seeds_are_the_first_in_a_band_as_far_as_all_go(curves):
    # Fails if the line jumps where the shortest seed ends, as a mean does, if every seed is a line, if the band follows
    # the longest seed, or if it is not from lowest to highest.
    seeds = [curves.assign(seed=seed, value=curves["value"] + 10 * seed) for seed in (0, 1, 2)]
    seeds[2] = seeds[2][seeds[2]["samples_evaluated"] < 1e7]
    several = pd.concat([curves[curves["size"] != 20], *(part[part["size"] == 20] for part in seeds)])
    panels = visible(figures.figure2(several, reference.curves(metric="bound")))
    assert [len(axes.collections) for axes in panels] == [0, 0, 0, 4, 0, 0, 0, 0, 4]
    panel = "dataset == 'mnist' and size == 20 and algorithm == 'aevb' and split == 'test'"
    first = curves.query(panel)["value"].to_numpy()
    assert tuple(first) in {tuple(line.get_ydata()) for line in panels[3].lines}
    assert len(panels[3].lines) == len(panels[2].lines)
    bands = [band.get_paths()[0].vertices for band in panels[3].collections]
    assert all(band[:, 0].max() == 1e6 for band in bands)
    assert any(np.isclose(band[:, 1].max(), first[:2].max() + 20) for band in bands)


def test_short_run_stays_visible(curves):
    low = curves.assign(value=curves["value"] - 80)
    assert visible(figures.figure2(low, reference.curves(metric="bound")))[0].get_ylim()[0] < -200


def test_fallback_digits_are_labelled(curves):
    digits = curves[curves["dataset"] == "mnist"].assign(dataset="digits")
    panels = visible(figures.figure2(digits, reference.curves(metric="bound")))
    assert all("not MNIST" in axes.get_title() for axes in panels)
    assert all(len(axes.lines) == 4 for axes in panels), "the paper's curves have no place on other data"


def test_same_data_give_the_same_bytes(curves, tmp_path):
    # Otherwise every execution of a notebook would change the committed figure.
    for name in ("one.svg", "two.svg"):
        figures.save(figures.figure2(curves, reference.curves(metric="bound")), [tmp_path / name])
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_short_run_ends_within_figure_3():
    # Fails if its curves lie below the paper's axis, where nobody sees them.
    paper = reference.curves(metric="log_px")
    end = {
        "metric": "log_px",
        "dataset": "mnist",
        "size": 1000,
        "split": "test",
        "seed": 0,
        "samples_evaluated": 250_000,
    }
    ours = pd.DataFrame([{**end, "algorithm": name, "value": x} for name, x in (("aevb", -150), ("wake_sleep", -190))])
    (axes,) = visible(figures.figure3(ours, paper))
    assert axes.get_ylim() == (-196, -100) and axes.get_xlim() == (0, 0.25)


def test_figure_3_draws_all_curves_in_millions():
    # Fails if a panel mixes training set sizes, or if the axis is in single samples.
    paper = reference.curves(metric="log_px")
    ours = paper.assign(seed=0)
    panels = visible(figures.figure3(ours, paper))
    assert [axes.get_title() for axes in panels] == [f"MNIST, N = {n}" for n in (1000, 50_000)]
    for axes, n_train in zip(panels, (1000, 50_000), strict=True):
        expected = {
            tuple(curve["value"]) for _, curve in paper[paper["size"] == n_train].groupby(["algorithm", "split"])
        }
        assert {tuple(line.get_ydata()) for line in axes.lines} == expected and len(axes.lines) == 12
        assert axes.get_xlim() == (0, 60) and max(line.get_xdata().max() for line in axes.lines) < 70


def _may_not_be_written(folder: Path) -> Path:
    """A folder in which this user may make nothing: for root, whom no permission stops, one that the kernel makes."""
    if os.geteuid():
        folder.chmod(0o500)
        return folder
    if not Path("/sys/kernel").exists():
        pytest.skip("root may write into every folder here")
    return Path("/sys/kernel")


def test_figure_3_keeps_datasets_apart(marginal_curves):
    # Fails if curves of two datasets with equally many samples become one line, or are all called MNIST.
    aevb = marginal_curves.query("algorithm == 'aevb' and size == 1000")
    both = pd.concat([aevb, aevb.assign(dataset="digits", value=-20.0)])
    figure = figures.figure3(both, reference.curves(metric="log_px"))
    assert [axes.get_title() for axes in figure.axes] == ["Digits (not MNIST), N = 1000", "MNIST, N = 1000"]
    assert all(line.get_ydata().max() == -20 for line in figure.axes[0].lines)


def test_a_figure_that_cannot_be_saved_is_shown_and_a_line_says_so(tmp_path, capsys):
    # A clone that students may only read. Fails if the notebook ends there, or if nobody is told.
    folder = _may_not_be_written(tmp_path)
    figures.save(plt.figure(), [folder / "figures" / "figure2.svg", folder / "figure2.svg"])
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" cannot be written")[0] for line in said] == [
        f"The figure is not saved: {folder / name}" for name in ("figures/figure2.svg", "figure2.svg")
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(tmp_path):
    # Fails if it counts as a clone that is read only: the batch would end well without its figures. Fails, too, if the
    # figure that was there is cut.
    file = tmp_path / "figure.svg"
    file.write_text("the figure of before")
    (tmp_path / f".{file.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(RecordError) as raised:
        figures.save(plt.figure(), [file])
    assert raised.value.__cause__.errno == errno.ENOSPC and file.read_text() == "the figure of before"


def test_a_changed_figure_has_the_standard_runs_beside_it_and_ends_where_ours_do(curves):
    # Fails if the changed runs stand for the standard ones, if the axis goes on where no run is, or without a legend.
    paper = reference.curves(metric="bound")
    standard = curves.assign(value=curves["value"] + 10)
    made = NO_CHANGE._replace(words="changed", standard=standard)
    axes = visible(figures.figure2(curves, paper, made))[0]
    of_panel = "dataset == 'mnist' and size == 3"
    drawn = {tuple(line.get_ydata()) for line in axes.lines}
    for table in (curves, standard):
        for _, curve in table.query(of_panel).groupby(["algorithm", "split"]):
            assert tuple(curve["value"]) in drawn
    assert axes.get_xlim() == (1e5, 4e7)
    said = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert {"changed", "standard"} <= {*said}
