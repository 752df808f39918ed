"""The paper's claims, computed: each on curves for which the answer is known."""

import numpy as np
import pandas as pd
import pytest

from replication.config import RunConfig
from replication.errors import RecordError
from replication.paper import claims, comparison, evidence, reference
from replication.runs import curves as tidy
from replication.runs import records


def compared(rows: list[tuple]) -> pd.DataFrame:
    """A table as `comparison.compare` makes it, from (n_latent, algorithm, split, samples, ours, paper)."""
    columns = ["size", "algorithm", "split", "samples_evaluated", "ours", "paper"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(metric="bound", dataset="mnist", point=table["samples_evaluated"])


def check(claim: claims.Claim, table: pd.DataFrame) -> pd.DataFrame:
    return claims.check(table, claims=[claim])


def test_above_counts_the_evaluation_points():
    rows = [(3, "aevb", "test", x, ours, -100) for x, ours in ((1e5, -160), (1e6, -140), (1e7, -130), (1e8, -120))]
    rows += [(3, "wake_sleep", "test", x, ours, -110) for x, ours in ((1e5, -150), (1e6, -145), (1e7, -135))]
    row = check(claims.ABOVE, compared(rows)).iloc[0]
    assert row["ours"] == pytest.approx(2 / 3) and row["paper"] == 1 and not row["holds"]
    assert row["samples_evaluated"] == 1e7, "beyond, there is nothing to compare"


def test_samples_needed_are_interpolated_on_the_logarithmic_axis():
    rows = [(3, "aevb", "test", x, ours, np.nan) for x, ours in ((1e5, -160), (1e6, -140), (1e7, -130))]
    rows += [(3, "wake_sleep", "test", x, ours, np.nan) for x, ours in ((1e5, -170), (1e6, -160), (1e7, -150))]
    row = check(claims.SAMPLES_NEEDED, compared(rows)).iloc[0]
    assert row["ours"] == pytest.approx(10**6.9 / 10**5.45) and row["holds"] and np.isnan(row["paper"])
    assert row["is_at_least"] == () and row["holds_in_paper"] is None
    never = compared(rows).assign(ours=lambda table: table["ours"] - 90 * (table["algorithm"] == "aevb"))
    assert (
        check(claims.SAMPLES_NEEDED, never)["ours"].item() == 0
        and not check(claims.SAMPLES_NEEDED, never)["holds"].item()
    )


def test_training_on_a_flat_curve_is_no_part_of_the_ratio():
    # Wake-sleep is flat from 1e6 on. Fails if its further samples made the ratio larger.
    curve = {1e5: -200, 1e6: -110, 1e7: -110, 1e8: -110}
    rows = [(3, "aevb", "test", x, y, np.nan) for x, y in {1e5: -110, 1e6: -100, 1e7: -95, 1e8: -90}.items()]
    rows += [(3, "wake_sleep", "test", x, y, np.nan) for x, y in curve.items()]
    long, short = (check(claims.SAMPLES_NEEDED, compared([row for row in rows if row[3] <= end])) for end in (1e8, 1e7))
    assert long["ours"].item() == short["ours"].item() < 10


def test_the_papers_ratio_to_its_own_ends_grows_beyond_ours():
    # Nz = 3 on MNIST, by numpy alone. Fails if the paper's curves are cut where ours end, at 1e7 say.
    whole = claims.of_whole_drawing(claims.SAMPLES_NEEDED).set_index(["panel", "split"])
    drawn = reference.curves(metric="bound", dataset="mnist", size=3, split="test")
    x, y = ({name: drawn[drawn["algorithm"] == name][column].to_numpy() for name in ("aevb", "wake_sleep")}
            for column in ("samples_evaluated", "value"))  # fmt: skip
    grid = np.geomspace(5e5, 2.5e8, 2000)
    aevb, wake_sleep = (np.interp(np.log10(grid), np.log10(x[name]), y[name]) for name in x)
    level = wake_sleep[-1] - claims.LESS
    expected = grid[wake_sleep >= level][0] / grid[aevb >= level][0]
    assert whole["paper"]["MNIST, Nz = 3", "test"] == pytest.approx(expected, rel=0.1)
    assert whole["samples_evaluated"]["MNIST, Nz = 3", "test"] == 2.5e8
    assert whole["ours"].isna().all() and expected > 10


def test_a_ratio_that_the_curves_do_not_resolve_is_a_limit():
    # AEVB begins above wake-sleep's last bound: it needed at most its first samples. Fails if that passes for a ratio.
    rows = [(3, "aevb", "test", x, ours, -100) for x, ours in ((1e5, -140), (1e7, -130))]
    rows += [(3, "wake_sleep", "test", x, ours, -110) for x, ours in ((1e5, -170), (1e7, -150))]
    table = check(claims.SAMPLES_NEEDED, compared(rows))
    assert table["is_at_least"].tolist() == [("ours", "paper")]
    assert claims.summarise(table)["ours"].item() == "at least 79.43"


def test_a_limit_that_decides_nothing_is_not_in_the_range():
    # Fails if a lower limit of 1.0, which is no measurement, reads as the least that was measured.
    cases = pd.DataFrame({
        "ours": [1.0, 2.0, 3.0], "holds": [None, True, True], "is_at_least": [("ours",), (), ("ours", "paper")],
    })  # fmt: skip
    assert claims.range_in_words(cases, "ours") == "2.00 to at least 3.00"
    assert claims.counted(cases) == "2 of 2"


def test_failures_are_counted_by_dataset_and_split():
    cases = pd.DataFrame({
        "dataset": ["frey_face", "frey_face", "mnist", "mnist"], "split": "train", "panel": list("abcd"),
        "holds": [False, False, None, True], "holds_in_paper": True,
    })  # fmt: skip
    assert claims.places_of_failures(cases) == ", not in 2 on Frey Face (train)"
    assert claims.places_of_failures(cases, "paper") == ""


def test_an_ordering_is_left_out_where_an_algorithm_is_missing(marginal_curves):
    # Fails if a missing record of figure 3 ends the whole verdict with a KeyError.
    table = comparison.compare(marginal_curves.query("algorithm != 'aevb'"))
    assert set(claims.check(table, claims=claims.ORDERINGS)["claim"]) == {
        "Monte Carlo EM above wake-sleep where the paper's end so, by 1 nat or more"
    }


def test_a_wider_gap_with_more_latent_variables_is_seen():
    # From 1 to 0.5, to 1.2, to 4 nats: a gap that is less than WIDER, 1 nat, wider is no wider.
    ends = {5: (-100, -101), 10: (-90, -90.5), 20: (-80, -81.2), 200: (-70, -74)}
    values = {(n, split): end for n, both in ends.items() for split, end in zip(("train", "test"), both, strict=True)}
    rows = [(n, "aevb", split, 1e6, value, value) for (n, split), value in values.items()]
    table = check(claims.GAP, compared(rows)).set_index("panel")
    assert table["ours"].round(9).to_dict() == {"MNIST, Nz = 10": 0.5, "MNIST, Nz = 20": 1.2, "MNIST, Nz = 200": 4}
    assert table["holds"].tolist() == [True, True, False]
    assert table["holds_in_paper"].to_dict() == table["holds"].to_dict()
    without_train = [*rows, (2, "aevb", "test", 1e6, -80, -80)]
    assert len(check(claims.GAP, compared(without_train))) == 3, "a model without its curve on train hides no other"


def test_what_a_run_of_full_vb_loses_after_its_best_is_positive():
    run = {"dataset": "digits", "n_latent": 3, "n_train": 100, "algorithm": "aevb", "split": "test", "run_id": "a"}
    curve = {"measure": "evaluated", "point": [1, 2, 3], "samples_evaluated": [1, 2, 3], "value": [-30.0, -20.0, -25.0]}
    (lost,) = evidence.lost_after_best(pd.DataFrame({**run, **curve})).to_dict("records")
    assert lost == {"best": -20.0, "at": 2, "lost": 5.0}


def test_a_lower_limit_that_does_not_decide_is_no_refutation():
    # Fails if "at least 1.0 times as many samples" counts as a failure of "more samples".
    limit = claims.Measured(("bound", "mnist", 3), "test", 1e6, {"ours": 1.0, "paper": 2.0}, at_least=("ours", "paper"))
    claim = claims.Claim("more", "bound", lambda curves, runs: [limit], lambda factor, _: factor > 1)
    row = claims.check(pd.DataFrame({"metric": ["bound"]}), claims=[claim]).iloc[0]
    assert row["holds"] is None and row["holds_in_paper"]
    assert claims.counted(pd.DataFrame([row])) == "-"


def test_the_papers_sentence_on_overfitting_fails_on_its_own_frey_face_curves():
    # The gaps of its curves at 1e7 grow with Nz. Fails if the claim were only asked of ours.
    paper = reference.curves(metric="bound", dataset="frey_face", algorithm="aevb")
    rows = [
        {"metric": "bound", "dataset": "frey_face", "size": n, "algorithm": "aevb", "split": split, "point": 1e7,
         "ours": -0.0, "paper": reference.value_at(curve, 1e7)}
        for (n, split), curve in paper.groupby(["size", "split"])
    ]  # fmt: skip
    table = check(claims.GAP, pd.DataFrame(rows))
    assert table["holds"].tolist() == [True] * 3 and table["holds_in_paper"].tolist() == [False] * 3
    assert claims.gaps_by_n_latent(pd.DataFrame(rows))["paper"].round(0).tolist() == [12, 32, 45, 55]


def frey_face(bound: float) -> records.Record:
    config = RunConfig(dataset="frey_face", algorithm="wake_sleep", n_latent=2, n_hidden=200, samples_total=10**6)
    row = {"samples_evaluated": 1_000_000, "value": bound, "se": 4.0}
    measures = {"train": "running_mean", "test": "evaluated"}
    curve = pd.DataFrame([{**row, "split": split, "measure": measure} for split, measure in measures.items()])
    return records.Record(config, curve, {"independent_gaussian": {"train": 576.2, "test": 579.1}})


@pytest.mark.parametrize(("bound", "holds"), [(577.0, True), (600.0, False), (560.0, False)])
def test_a_collapsed_model_is_the_independent_gaussian(bound, holds):
    record = frey_face(bound)
    table = claims.check(comparison.compare(tidy.table([record])), [record], [claims.COLLAPSE])
    (row,) = table.to_dict("records")
    assert row["holds"] == holds and row["split"] == "train" and row["ours"] == pytest.approx(bound - 576.2)
    assert row["holds_in_paper"], "the paper's curves are that Gaussian"


def test_independent_gaussian_stands_beside_the_last_bound():
    record = frey_face(575.0)
    table = evidence.against_independent_gaussian([record]).set_index("split")
    assert table.loc["test", "difference"] == pytest.approx(575 - 579.1)
    assert evidence.against_independent_gaussian([record._replace(facts={})]).empty


def test_orderings_are_computed_where_the_paper_draws_both(marginal_curves):
    # On much data the paper draws Monte Carlo EM from 4e7 samples on: before that there is no ordering to claim.
    # Fails, too, if an ordering of the paper that ours reverse is left out, or if a fraction of a nat is one.
    table = claims.check(comparison.compare(marginal_curves), claims=claims.ORDERINGS)
    assert (table["paper"] >= claims.LESS).all() and table["holds_in_paper"].isna().all(), "the panels are chosen by it"
    assert len(table) == 6 and table["holds"].all()
    assert set(table["samples_evaluated"]) == {10_000_000}
    swapped = marginal_curves.replace({"algorithm": {"aevb": "wake_sleep", "wake_sleep": "aevb"}})
    reversed_ = claims.check(comparison.compare(swapped), claims=claims.ORDERINGS)
    assert len(reversed_) == 6 and not reversed_["holds"].any()
    is_close = (marginal_curves["algorithm"] == "mcem") & (marginal_curves["size"] == 1000)
    close = marginal_curves.assign(value=marginal_curves["value"].mask(is_close, -115.4))  # AEVB has -115
    (row,) = claims.check(comparison.compare(close), claims=claims.ORDERINGS).query("ours.abs() < 1").to_dict("records")
    assert row["claim"].startswith("AEVB above Monte Carlo EM") and row["holds"] is None


def record_of(n_latent: int, **facts) -> records.Record:
    config = RunConfig(dataset="mnist", algorithm="aevb", n_latent=n_latent, n_hidden=5, samples_total=1)
    return records.Record(config, pd.DataFrame({"samples_evaluated": [1000 * n_latent]}), facts)


def test_a_latent_variable_that_carries_nothing_is_not_active():
    use = evidence.latent_use([record_of(3, kl_per_dimension=[0.001, 3.0, 0.5]), record_of(1, kl_per_dimension=[2.0])])
    assert use.query("n_latent == 3")["kl"].tolist() == [3.0, 0.5, 0.001]
    units = evidence.active_units(use)
    assert units["active"].to_dict() == {1: 1, 3: 2} and units["samples"].to_dict() == {1: 1000, 3: 3000}
    assert units.loc[3, "kl"] == pytest.approx(3.501) and units.loc[3, "kl_of_inactive"] == pytest.approx(0.001)


@pytest.mark.parametrize(("last", "leaves"), [(700.0, "1e6"), (600.0, "")])
def test_a_run_leaves_the_independent_gaussian_at_its_first_point_above(last, leaves):
    config = RunConfig(dataset="frey_face", algorithm="wake_sleep", n_latent=2, n_hidden=5, samples_total=1)
    rows = [
        {"samples_evaluated": x, "split": "test", "measure": "evaluated", "value": bound}
        for x, bound in ((100_000, 575), (1_000_000, last))
    ]
    run = records.Record(config, pd.DataFrame(rows), {"independent_gaussian": {"test": 576.0}})
    row = evidence.escapes({"authors": [run], "text": []}).iloc[0]
    assert row["leaves at"] == leaves and row["above"] == last - 576 and row["trained to"] == "1e6"
    assert row["updates"] == 10_000


def test_a_record_without_its_latent_use_says_what_to_do():
    # As one that goes beyond what is asked for. Fails with a KeyError at the head of notebook 5.
    with pytest.raises(RecordError, match="mnist"):
        evidence.latent_use([record_of(3)])
