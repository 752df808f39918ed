"""The paper's curves as committed."""

import numpy as np
import pandas as pd
import pytest

from replication import paths
from replication.errors import RecordError
from replication.paper import evidence, rates, reference
from replication.runs.curves import CURVE


def test_all_48_curves_are_there():
    # 9 panels of figure 2 with 4 curves each, 2 panels of figure 3 with 6.
    n_curves = reference.curves()[CURVE].drop_duplicates().groupby("metric").size()
    assert n_curves.to_dict() == {"bound": 36, "log_px": 12}
    assert set(reference.curves(metric="log_px")["size"]) == {1000, 50_000}


def test_a_curve_is_one_run_within_the_axes():
    # Fails if the line that leads out of the axes, or the run before a new start, is taken for a part of the curve:
    # wake-sleep on MNIST was started anew in four panels, and x goes back there.
    for _, curve in reference.curves().groupby(CURVE):
        assert curve["samples_evaluated"].is_monotonic_increasing
        assert curve["value"].min() >= reference.Y_LIMITS[curve["metric"].iloc[0], curve["dataset"].iloc[0]][0]
        assert curve["samples_evaluated"].iloc[-1] > 5.5e7  # the short runs before end at 1e6


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (None, "is missing"),
        (lambda content: b"", "is not the file"),
        (lambda content: b"<!DOCTYPE html>", "is not the file"),
        (lambda content: b"\xff\xfe" + content, "is not the file"),
        (lambda content: content[: len(content) // 2], "is not the file"),
        (lambda content: content.replace(b"-329.39", b"-329.30"), "is not the file"),
    ],
    ids=["missing", "empty", "a page", "binary", "cut", "changed"],
)
def test_a_file_of_the_paper_that_is_not_the_committed_one_is_said(tmp_path, monkeypatch, spoil, said):
    # Fails with an error of pandas; or silently with fewer curves, or with another value.
    file = tmp_path / "paths.csv"
    if spoil:
        file.write_bytes(spoil(paths.PAPER_PATHS.read_bytes()))
    monkeypatch.setattr(paths, "PAPER_PATHS", file)
    monkeypatch.setattr(paths, "FIRST_ITERATIONS", file)
    monkeypatch.setattr(paths, "WAKE_SLEEP_TRIED", file)
    for read in (reference.vertices.__wrapped__, lambda: rates.first_iterations("bound"), evidence.wake_sleep_tried):
        with pytest.raises(RecordError, match=f"{file} {said}.* Restore it from version control"):
            read()


def test_interpolation_is_linear_in_log_samples():
    curve = pd.DataFrame({"metric": "bound", "samples_evaluated": [1e5, 1e7], "value": [-150.0, -110.0]})
    assert reference.value_at(curve, 1e6) == pytest.approx(-130)
    assert reference.value_at(curve, 1e7) == -110
    assert reference.value_at(curve.assign(metric="log_px"), 5.05e6) == pytest.approx(-130)


def test_outside_of_the_drawn_range_there_is_no_value():
    # Extrapolating would compare ours with a curve that the paper does not show.
    curve = pd.DataFrame({"metric": "bound", "samples_evaluated": [1e6, 1e7], "value": [-150.0, -110.0]})
    assert np.isnan(reference.value_at(curve, 1e5)) and np.isnan(reference.value_at(curve, 2e7))
    assert np.isnan(reference.value_at(curve.iloc[:0], 1e6))


def test_value_at_a_million_is_the_published_one():
    curve = reference.curves(metric="bound", dataset="mnist", size=20, algorithm="aevb", split="test")
    assert reference.value_at(curve, 1e6) == pytest.approx(-124.2, abs=0.3)
