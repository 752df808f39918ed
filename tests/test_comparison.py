"""Records compared with the paper, and the rule that classifies each curve."""

import json

import numpy as np
import pandas as pd
import pytest

from replication.errors import ReplicationError
from replication.paper import comparison, reference
from replication.runs.points import point_of


def curves_of(value: float, samples: int = 1_000_000, **changes) -> pd.DataFrame:
    row = {"metric": "bound", "dataset": "mnist", "algorithm": "aevb", "size": 20, "seed": 0, "split": "test",
           "measure": "evaluated", "se": 0.3}  # fmt: skip
    early = row | {"samples_evaluated": 100_000, "value": -500.0}
    rows = pd.DataFrame([early | changes, row | {"samples_evaluated": samples, "value": value} | changes])
    if "measure" not in changes:
        rows["measure"] = rows["split"].map({"train": "running_mean", "test": "evaluated"})
    name = "-".join(str(rows[key].iloc[0]) for key in ("dataset", "size", "algorithm", "seed"))
    return rows.assign(run_id=name, point=point_of("bound", rows["samples_evaluated"].to_numpy(), 100))


def at_the_end(curves: pd.DataFrame) -> pd.DataFrame:
    return comparison.at_the_end(comparison.compare(curves))


def test_final_bound_is_compared_at_the_same_number_of_samples():
    table = at_the_end(curves_of(-120.0))
    assert len(table) == 1
    assert table.loc[0, "ours"] == -120 and table.loc[0, "paper"] == pytest.approx(-124.2, abs=0.3)
    assert table.loc[0, "difference"] == pytest.approx(4.2, abs=0.3)


def test_no_difference_where_the_paper_shows_no_curve():
    assert np.isnan(at_the_end(curves_of(-120.0, samples=200_000)).loc[0, "difference"])
    assert np.isnan(at_the_end(curves_of(-20.0, dataset="digits")).loc[0, "difference"])


def test_runs_of_unequal_length_are_compared_at_equal_samples():
    # Fails if the longer run is judged at its own end, where it is within, beside the shorter one, which is not yet.
    paper = reference.curves(metric="bound", dataset="mnist", size=20, algorithm="aevb", split="test")
    near, far = (float(reference.value_at(paper, x)) for x in (1_000_000, 10_000_000))
    short = curves_of(near + 5)
    long = pd.concat([curves_of(near + 1), curves_of(far, samples=10_000_000).iloc[1:]])
    tables = {"short": comparison.compare(short), "long": comparison.compare(long)}
    (row,) = comparison.at_equal_samples(tables).to_dict("records")
    assert row["samples_evaluated"] == 1_000_000 and row["paper"] == pytest.approx(near)
    assert (row["short"], row["long"]) == pytest.approx((5, 1))


def test_side_by_side_keeps_every_number():
    long = at_the_end(pd.concat([curves_of(-120.0), curves_of(-119.0, split="train")]))
    wide = comparison.train_beside_test(long)
    assert wide[("test", "ours")].item() == -120 and wide[("train", "ours")].item() == -119


def test_marginal_likelihood_is_compared_at_equal_samples(marginal_curves):
    table = comparison.after(comparison.compare(marginal_curves)).set_index(["size", "algorithm", "split", "point"])
    row = table.loc[(1000, "aevb", "train", 10_000_000)]
    assert row["ours"] == -115 and row["difference"] == pytest.approx(-115 - row["paper"])
    assert -125 < row["paper"] < -112, "the paper's curve passes there"


@pytest.mark.parametrize(
    ("difference", "expected"),
    [(1.9, "within"), (-2.0, "within"), (2.1, "above"), (-2.1, "below"), (np.nan, "too short")],
)
def test_a_curve_is_classified_on_both_sides(difference, expected):
    # Fails if a curve that is far above the paper's counted as a success.
    assert comparison.classify(difference, 2.0) == expected


def test_the_tolerances():
    # Loosening one would turn a miss into a success. On Frey Face the paper's
    # curves of figure 2 go from 320.85 to 1487.20 nats.
    assert comparison.tolerance("bound", "mnist") == 2 and comparison.tolerance("log_px", "mnist") == 2.5
    assert comparison.tolerance("bound", "frey_face") == pytest.approx(0.05 * (1487.20 - 320.85), abs=0.01)


def test_every_curve_of_the_paper_is_judged_once_where_both_have_arrived(marginal_curves):
    # Fails if a curve that was not run disappears, or if a point beyond the paper's axis counts.
    table = comparison.judge(
        comparison.compare(pd.concat([curves_of(-120.0), curves_of(-60.0, samples=10**9).iloc[1:]]))
    )
    assert len(table) == 36 and len(comparison.judge(comparison.compare(marginal_curves))) == 12
    run = table[table["verdict"] != "not run"]
    assert run[["size", "algorithm", "split"]].to_numpy().tolist() == [[20, "aevb", "test"]]
    assert run["samples_evaluated"].item() == 1_000_000 and run["verdict"].item() == "above"


def test_a_curve_is_judged_along_its_way():
    # Beyond a million samples, two of three points are within 2 nats. Fails if early points or the paper's gaps count.
    paper = reference.curves(metric="bound", dataset="mnist", size=20, algorithm="aevb", split="test")
    nats = {5e5: 50.0, 1e6: 1.0, 3e6: -3.0, 1e7: 0.5}
    ours = pd.concat([curves_of(reference.value_at(paper, x) + d, samples=x).iloc[1:] for x, d in nats.items()])
    row = comparison.judge(comparison.compare(ours)).query("verdict != 'not run'").iloc[0]
    assert row["verdict"] == "within" and row["along"] == pytest.approx(2 / 3)
    assert row["distance"] == pytest.approx((1 + 3 + 0.5) / 3 / 2)
    counts = comparison.counts(comparison.judge(comparison.compare(ours)))
    assert counts["within"] == 1 and counts["within_along"] == 0 and counts["not run"] == 35
    short = comparison.counts(comparison.judge(comparison.compare(curves_of(-120.0, samples=200_000))))
    assert short["too short"] == 1 and short["not run"] == 35, "it ran, and ends before the paper's curve begins"
    assert counts["late"] == counts["within_late"] == 1, (
        "of the points beyond what the search sees, 1e7, all are within"
    )


def test_differences_are_also_in_standard_deviations_of_the_seeds():
    both = pd.concat([curves_of(-120.0), curves_of(-122.0, seed=1)])
    table = comparison.compare(both).query("samples_evaluated == 1_000_000")
    assert table["in_seed_sds"].item() == pytest.approx(table["difference"].item() / 2)  # their s.d. is root 2
    (row,) = comparison.with_several_seeds(comparison.compare(both)).to_dict("records")
    assert row["n_seeds"] == 2 and row["highest"] == row["difference"] == pytest.approx(row["lowest"] + 2)


def test_no_curve_at_the_wanted_samples_is_an_empty_table(marginal_curves):
    # A batch of short runs ends before the first of them: its notebook must go on.
    assert comparison.after(comparison.compare(marginal_curves), millions=(0.5,)).empty


def test_of_several_seeds_the_lowest_is_the_curve():
    # Fails if a mean over seeds jumps where the second ends, or if another seed stands in where the first has no point.
    first = pd.concat([curves_of(-120.0), curves_of(-110.0, samples=3_000_000).iloc[1:]])
    table = comparison.compare(
        pd.concat([curves_of(-130.0, seed=2), first, curves_of(-90.0, seed=1, samples=2_000_000)])
    )
    assert dict(zip(table["samples_evaluated"], table["ours"], strict=True))[3_000_000] == -110
    assert table.query("samples_evaluated == 1_000_000")["ours"].item() == -120
    assert 2_000_000 not in set(table["samples_evaluated"])
    assert table.query("samples_evaluated == 1_000_000")["n_seeds"].item() == 2


def test_the_standard_error_has_the_seeds_in_it():
    # 0.3 over datapoints; two seeds 2 nats apart, and one seed in another panel, which borrows their spread.
    both = pd.concat([curves_of(-120.0), curves_of(-122.0, seed=1), curves_of(-110.0, size=10)])
    table = comparison.compare(both).query("samples_evaluated == 1_000_000").set_index("size")
    assert table.loc[20, "se"] == pytest.approx(np.hypot(0.3, 2**0.5))
    assert table.loc[10, "se"] == pytest.approx(np.hypot(0.3, 2**0.5))
    alone = comparison.compare(curves_of(-120.0)).query("samples_evaluated == 1_000_000")
    assert alone["se"].item() == pytest.approx(0.3)


def test_objects_are_json_with_every_evaluation_point():
    objects = json.loads(json.dumps(comparison.as_objects(comparison.compare(curves_of(-120.0)))))
    assert len(objects) == 36
    (found,) = [item for item in objects if item["evaluation_points"]]
    assert (found["size"], found["algorithm"], found["split"]) == (20, "aevb", "test")
    assert [point["ours"] for point in found["evaluation_points"]] == [-500, -120]
    assert found["evaluation_points"][0]["paper"] is None and found["along"] in (0.0, 1.0)


def test_runs_that_differ_in_more_than_the_seed_are_no_seeds_of_each_other():
    # Fails if a copy, or a run with another learning rate, counts as a second seed.
    twice = pd.concat([curves_of(-120.0), curves_of(-120.0)])
    assert set(comparison.compare(twice)["n_seeds"]) == {1}
    with pytest.raises(ReplicationError, match=r"2 runs of .*differ in more than the seed"):
        comparison.compare(pd.concat([curves_of(-120.0), curves_of(-118.0).assign(run_id="another")]))


def test_only_classes_with_a_curve_are_said():
    # Fails if a batch on digits says that 0 of 36 curves are within, or if a class is left out that has a curve.
    none = dict.fromkeys(comparison.CLASSES, 0)
    assert comparison.in_words({**none, "curves": 36, "not run": 36}) == "Of the paper's 36 curves none is run here."
    said = comparison.in_words({**none, "curves": 12, "within": 8, "above": 3, "too short": 1})
    assert said == (
        "8 of our 12 curves end within the verdict's tolerance of the paper's, 3 above it, 1 too short to compare."
    )


def test_the_narrow_tolerance_is_the_same_share_of_each_datasets_range():
    # Fails if a range is that of another figure: on MNIST it is the tolerance itself, on Frey Face that share.
    drawn = reference.curves(metric="bound").groupby("dataset")["value"].agg(np.ptp)
    assert comparison.narrow_tolerance("bound", "mnist") == pytest.approx(2.0)
    assert comparison.narrow_tolerance("log_px", "mnist") == pytest.approx(2.5)
    assert comparison.narrow_tolerance("bound", "frey_face") == pytest.approx(2 * drawn["frey_face"] / drawn["mnist"])
