"""Pictures of ours against the paper's show the numbers that they are given, in the row where they belong."""

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("agg")

from replication.paper import comparison
from replication.plots import comparisons
from replication.runs.points import point_of


def test_the_verdict_shows_every_curve_along_its_way():
    # Fails if a row of one curve shows another's difference, or if a run with another minibatch falls into a column of
    # its own: its evaluation points lie a step beside.
    rows = [{"metric": "bound", "dataset": "mnist", "size": n, "algorithm": "aevb", "split": "test", "seed": 0,
             "measure": "evaluated", "value": -120.0, "se": 0.3, "samples_evaluated": x, "run_id": str(n),
             "point": int(point_of("bound", np.array([x]), 313)[0])}
            for n, xs in ((20, (1_000_000, 3_000_000)), (10, (1_000_035, 3_000_105)))
            for x in xs]  # fmt: skip
    compared = comparison.compare(pd.DataFrame(rows))
    judged = comparison.judge(compared)
    figure = comparisons.verdict(compared, judged)
    train, test, _ = figure.axes
    titles = [label.get_text() for label in train.get_yticklabels()]
    assert len(titles) == 18 and titles.count("MNIST, Nz = 20, AEVB") == 1
    at, drawn = titles.index("MNIST, Nz = 20, AEVB"), test.images[0].get_array()
    assert drawn.shape == (18, 2)
    ours = compared[compared["size"] == 20]
    np.testing.assert_allclose(drawn[at], ours["difference"] / 2.0)
    texts = [text.get_text() for text in test.texts if text.get_position()[1] == at]
    assert texts == [f"{ours['difference'].iloc[-1]:+.1f}"]
    assert "outside the tolerance" in figure.legends[0].get_texts()[0].get_text()
    assert sum(text.get_text() == "not run" for text in (*train.texts, *test.texts)) == 34


def test_the_closest_learning_rate_is_marked_and_a_long_bar_cut():
    table = pd.DataFrame({
        "metric": "bound", "dataset": "mnist", "algorithm": "aevb", "n_train": 50_000, "warm_up_steps": 101,
        "learning_rate": [0.01, 0.02, 0.1], "distance": [2.0, 1.0, 40.0], "panels": [5, 5, 1],
        "is_closest": [False, True, False],
    })  # fmt: skip
    both = pd.concat([table, table.assign(warm_up_steps=0, is_closest=False)]).assign(metric="log_px")
    figure = comparisons.learning_rates(pd.concat([table, both]))
    axes, other = figure.axes[:2]
    labels = [label.get_text() for label in other.get_yticklabels()]
    assert labels == ["0.1", "0.02", "0.01", "0.1, no warm-up", "0.02, no warm-up", "0.01, no warm-up"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.1", "0.02", "0.01"], "the smallest on top"
    assert [text.get_text() for text in axes.texts] == ["40.00  on fewer", "1.00  chosen", "2.00"]
    assert [bar.get_width() for bar in axes.patches] == [comparisons.LONGEST_BAR, 1.0, 2.0]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] != colours[1] == colours[2], "pale where it was tried on fewer panels"
    (cuts,) = axes.lines
    assert list(cuts.get_ydata()) == [0], "the bar that is cut, and no other, has the mark that the legend explains"
    assert len(figure.legends[0].get_texts()) == 3


def test_gaps_show_ours_and_the_papers():
    table = pd.DataFrame({"dataset": "frey_face", "n_latent": [2, 5], "ours": [10.0, 30.0], "paper": [11.0, 31.0],
                          "samples_evaluated": 10**7})  # fmt: skip
    (axes,) = comparisons.gaps(table).axes
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[10.0, 30.0], [11.0, 31.0]]
    assert "1e7" in axes.get_title()
