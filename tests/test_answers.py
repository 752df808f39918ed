"""The answers at the head of the notebooks hold for any records, those of the smallest batch included."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from replication.config import ConfigError, RunConfig
from replication.paper import answers, evidence, names, reference
from replication.runs import curves
from replication.runs.records import Record


def _pair(gap_of_map: float, gap_of_full_vb: float, dataset: str = "digits") -> list[Record]:
    """A run of MAP and one of full VB whose bounds on train are that much above those on test.

    MAP's running mean, which contains the start of the run, is 500 nats below.
    """
    runs = []
    for algorithm, gap in (("aevb", gap_of_map), ("full_vb", gap_of_full_vb)):
        config = RunConfig(
            dataset=dataset, algorithm=algorithm, n_latent=3, n_hidden=8, n_train=100, samples_total=1000
        )
        values = {("train", "evaluated"): -30.0, ("test", "evaluated"): -30.0 - gap}
        if algorithm == "aevb":
            values["train", "running_mean"] = -530.0
        rows = [
            {"samples_evaluated": 1000, "split": split, "measure": measure, "value": value, "se": 0.1,
             "bound_sampled": value, "bound_at_mean": value, "seconds": 1.0}
            for (split, measure), value in values.items()
        ]  # fmt: skip
        runs.append(Record(config, pd.DataFrame(rows), {}))
    return runs


def _on_test(samples: list[int], values: list[float], **settings) -> Record:
    config = RunConfig(**{"dataset": "digits", "n_latent": 3, "n_hidden": 8, "samples_total": max(samples), **settings})
    rows = [
        {"samples_evaluated": at, "split": "test", "measure": "evaluated", "value": value, "se": 0.1, "seconds": 1.0}
        for at, value in zip(samples, values, strict=True)
    ]
    return Record(config, pd.DataFrame(rows), {})


@pytest.mark.parametrize(
    ("gaps", "answer"),
    [
        ((8.0, 2.0), "at best 25% of it (Digits (not MNIST), Nz = 3, N = 100), at worst 25%"),
        ((0.5, 2.0), "MAP's gap between train and test is nowhere above 1 nat"),
    ],
)
def test_full_vb_is_answered_with_and_without_a_gap_to_narrow(gaps, answer):
    # Fails if the share of a gap that is not there is taken for a finding, or if the notebook stops with an error.
    assert answer in " ".join(answers.full_vb(_pair(*gaps)).split())


def test_maps_gap_is_that_of_its_weights_not_of_a_running_mean():
    # Fails if MAP's bound on train is the mean over its steps and full VB's that of the model: the gap of MAP had the
    # wrong sign then.
    table = evidence.against_map(curves.evaluated(curves.table(_pair(10.0, 2.0))))
    assert table["gap", "MAP"].item() == pytest.approx(10) and table["gap", "full VB"].item() == pytest.approx(2)


def test_full_vb_without_map_on_train_is_refused_in_words():
    # Fails if the notebook ends in a KeyError for a column that is not there.
    full_vb, map_ = _pair(10.0, 2.0)[::-1]
    without = map_._replace(curve=map_.curve.query("not (split == 'train' and measure == 'evaluated')"))
    with pytest.raises(ConfigError, match="nothing to compare"):
        evidence.against_map(curves.evaluated(curves.table([full_vb, without])))


def test_full_vb_is_compared_on_each_of_several_datasets():
    # Two datasets have pairs of equal Nz and N. Fails if they are taken for one ("Index contains duplicate entries").
    runs = [*_pair(8.0, 2.0), *_pair(4.0, 3.0, dataset="mnist")]
    table = evidence.against_map(curves.evaluated(curves.table(runs)))
    assert table["gap", "MAP"].to_dict() == {("digits", 3, 100): 8.0, ("mnist", 3, 100): 4.0}
    assert "2 pairs of runs" in " ".join(answers.full_vb(runs).split())


def test_a_panel_without_a_common_point_is_named():
    # Fails if a panel in which Monte Carlo EM's first step ends beyond the others is left out in silence.
    em = {"algorithm": "mcem", "samples_counted": "all_passes", "metric": "log_px"}
    aevb = {"algorithm": "aevb", "metric": "log_px"}
    runs = [
        _on_test([100_000, 250_000], [-30, -25], n_train=200, **aevb),
        _on_test([102_000, 252_000], [-31, -26], n_train=200, batch_size=200, **em),
        _on_test([100_000, 250_000], [-30, -25], n_train=1500, **aevb),
        _on_test([517_500], [-40], n_train=1500, batch_size=1500, **em),
    ]
    said = " ".join(answers.marginal_likelihood(runs).split())
    assert "N = 200: log p(x) on test after 2.5e5 samples: AEVB -25.0, Monte Carlo EM -26.0 nats." in said
    assert "N = 1500: the algorithms have no evaluation point in common" in said


def test_monte_carlo_em_is_in_the_answer_although_its_points_lie_a_step_beside():
    # Its steps take 5 N = 1485 samples. Fails if algorithms are compared at equal numbers of samples only: the best of
    # the three was then missing.
    common = {"n_train": 297, "metric": "log_px"}
    runs = [
        _on_test([100_000, 250_000], [-28.0, -27.0], algorithm="aevb", **common),
        _on_test([100_000, 250_000], [-28.5, -27.5], algorithm="wake_sleep", **common),
        _on_test([100_980, 250_965], [-26.0, -25.0], algorithm="mcem", batch_size=297, **common),
    ]
    said = " ".join(answers.marginal_likelihood(runs).split())
    assert (
        "N = 297: log p(x) on test after 2.5e5 samples: Monte Carlo EM -25.0, AEVB -27.0, wake-sleep -27.5 nats."
        in said
    )


@pytest.mark.parametrize(
    ("at_the_end", "answer"),
    [
        (-124.4, "within 1 nat, so L = 5 shows no gain"),
        (-130.0, "the lead changes: the two runs do not tell L from chance"),
        (-94.0, "ahead at 2 of 2 points; unless that is chance, each being one run, L = 1 does not suffice"),
    ],
)
def test_whether_one_sample_of_z_suffices_is_read_from_the_runs(at_the_end, answer):
    # Fails if the sentence is the same whatever the table says, or if the signs are swapped.
    common = {"dataset": "mnist", "algorithm": "aevb", "batch_size": 500}
    runs = [
        _on_test([100_000, 250_000], [-140.0, -124.0], n_mc_samples=1, **common),
        _on_test([100_000, 250_000], [-139.0, at_the_end], n_mc_samples=5, **common),
    ]
    said = " ".join(answers.samples_of_z(runs).split())
    assert answer in said and f"ends {at_the_end + 124:+.1f} nats from that with L = 1" in said
    assert ("500 updates." in said) == (at_the_end != -124.4)
    assert ("That is early: L = 1 still rose by 16.0" in said) == (at_the_end == -130), "more than the difference"


def test_a_run_with_one_evaluation_point_moves_by_no_number():
    # As in a short run: fails where the difference to a point before, which is not there, is said to be nan.
    common = {"dataset": "mnist", "algorithm": "aevb", "batch_size": 500}
    runs = [_on_test([100_000], [bound], n_mc_samples=n, **common) for n, bound in ((1, -140.0), (5, -145.0))]
    said = answers.samples_of_z(runs)
    assert "0 of 1 point" in said and "nan" not in said


def test_who_wins_in_the_paper_is_read_from_its_curves():
    # The paper has Monte Carlo EM highest on test with N = 1000 (figure 3). Fails if ours stands for the paper's.
    common = {"dataset": "mnist", "n_train": 1000, "metric": "log_px", "n_hidden": 100}
    values = {"aevb": -130.0, "wake_sleep": -150.0, "mcem": -140.0}
    runs = [
        _on_test([50_000_000], [value], algorithm=name, **common, **({"batch_size": 1000} if name == "mcem" else {}))
        for name, value in values.items()
    ]
    said = " ".join(answers.marginal_likelihood(runs).split())
    assert "after 5e7 samples: AEVB -130.0, Monte Carlo EM -140.0, wake-sleep -150.0 nats." in said
    assert "N = 1000 in the paper, after 5e7: Monte Carlo EM -14" in said and "Monte Carlo EM wins there." in said


@pytest.mark.parametrize(("ahead", "said"), [(1.5, "wins there, too."), (0.5, "the first two are within 1 nat.")])
def test_a_lead_of_less_than_a_nat_is_no_win(ahead, said):
    # Fails if one seed's tenth of a nat is a result.
    common = {"dataset": "mnist", "n_train": 1000, "metric": "log_px", "n_hidden": 100}
    values = {"aevb": -140.0 - ahead, "wake_sleep": -150.0, "mcem": -140.0}
    runs = [
        _on_test([50_000_000], [value], algorithm=name, **common, **({"batch_size": 1000} if name == "mcem" else {}))
        for name, value in values.items()
    ]
    assert said in " ".join(answers.marginal_likelihood(runs).split())


def test_runs_that_a_learning_rate_has_thrown_off_are_counted():
    table = pd.DataFrame({0.01: [-150.0, -160.0], 0.1: [-1e10, -170.0], "se": 0.5, "chosen": 0.01})
    said = " ".join(answers.exploded(table).split())
    assert said == "With learning rate 0.1, 1 run of 2 is below -10,000 nats, the lowest at -1e+10."


def test_an_answer_on_two_datasets_has_the_numbers_of_each():
    # Fails if one dataset's bounds stand for both.
    variance = pd.DataFrame([
        {"samples_evaluated": 0, "network": "encoder", "batch_size": 100, "n_mc_samples": 2, "estimator": name,
         "ratio": 1.0, "ratio_se": 0.1}
        for name in ("sgvb_b", "score_function", "score_function_baseline")
    ])  # fmt: skip
    by_estimator = [
        _on_test([1000], [value], dataset=dataset, algorithm="aevb", estimator=name,
                 n_mc_samples=2 if name == "score_function_baseline" else 1)
        for dataset, value in (("mnist", -111.0), ("digits", -22.0))
        for name in ("sgvb_b", "score_function", "score_function_baseline")
    ]  # fmt: skip
    by_size = [
        _on_test([1000], [value - m / 100], dataset=dataset, algorithm="aevb", batch_size=m)
        for dataset, value in (("mnist", -111.0), ("digits", -22.0)) for m in (20, 100)
    ]  # fmt: skip
    said = " ".join(answers.estimators(variance, by_estimator, by_size).split())
    assert "On MNIST the bound on test then ends at -111.0" in said
    assert "On Digits (not MNIST) the bound on test then ends at -22.0" in said


def _gaps(log_px: float) -> pd.DataFrame:
    few = {"n_latent": 3, "gap": 8.0, "reconstruction": 8.2, "kl": -0.2, "log_px": log_px, "approximation": -0.03}
    few |= {"mean": 7.0 - log_px, "log_var": 1.0}
    many = {"n_latent": 200, "gap": 1.0, "reconstruction": 1.0, "kl": 0.0, "mean": 0.9, "log_var": 0.1}
    gaps = pd.DataFrame([many, few])
    return gaps.assign(**{f"{name}_se": 0.5 for name in ("gap", "log_px", "approximation", "mean", "log_var")})


@pytest.mark.parametrize(("log_px", "none"), [(-0.9, "1 of 1"), (3.0, "0 of 1")])
def test_the_parts_of_the_gap_are_those_of_the_smallest_model(log_px, none):
    # Fails if the answer is of another model than the smallest, if it says more than its numbers, or prints "nan".
    answer = " ".join(answers.why_few_overfit(_gaps(log_px)).split())
    assert f"means lose {7 - log_px:.1f} ± 0.5 nats more" in answer and f"of 0 in {none} models" in answer
    assert f"{8 - log_px:.1f} ± 1.0 of 8.0 ± 0.5 with 3" in answer and "1.0 ± 1.0 of 1.0 ± 0.5 with 200" in answer
    assert "nan" not in answer and "-0.0" not in answer


def test_the_authors_estimate_counts_for_what_it_brings_nearer_to_the_paper():
    # The paper's curve of AEVB, N = 1000, at 1e7 samples, on test: -142.9. Fails with a wrong sign, or if the later
    # report of fresh chains counts.
    estimates = pd.DataFrame([
        {"algorithm": "aevb", "n_train": 1000, "split": "test", "chains": chains, "report": report, "authors": authors,
         "appendix_d": -140.3}
        for chains, report, authors in (("fresh", 1, -139.0), ("fresh", 5, -142.7), ("living", 72, -142.7))
    ])  # fmt: skip
    compared = evidence.authors_beside_the_paper(estimates, 10_000_000)
    assert compared["paper"].tolist() == pytest.approx([-142.9] * 3, abs=0.1)
    known = pd.DataFrame({"n_latent": [3, 5], "report": 5, "bias": [0.6, 2.5], "bias_se": 0.02})
    answer = " ".join(answers.authors_estimator(known, compared).split())
    assert "off in report 5 by +0.60 ± 0.02 nats" in answer
    assert (
        "AEVB, N = 1000, test: ours is +2.6 from the paper's curve, the authors' estimate of our model +3.9" in answer
    )
    assert (
        "By fresh chains it is nearer to the paper's curve than ours by more than a nat on 0 of 1, further by more"
        in answer
    )
    assert "By living chains it is nearer to the paper's curve than ours by more than a nat on 1 of 1" in answer


@pytest.mark.parametrize(
    "text",
    [
        "The images in my_images have 2 sizes (height x width):\n  8 x 8 pixels: 0.png\n  8 x 9 pixels: wrong.png",
        f"{'a' * 78}\n    indented further",
        "",
    ],
)
def test_lines_that_are_no_broken_sentence_stay(text):
    assert names.one_per_line(text) == text


def test_sentences_in_lines_come_back_as_they_were():
    # Fails at words with a hyphen, after which a line may break, and at negative numbers.
    rng = np.random.default_rng(0)
    words = ["wake-sleep", "-98.1", "nats", "on", "MNIST:", "-38.5 to +2.5", "test-set-of-digits", "a" * 30]
    sentences = [" ".join(rng.choice(words, n)) + "." for n in range(1, 60)]
    assert names.one_per_line(names.in_lines(sentences)) == "\n".join(sentences)


def test_the_papers_gaps_are_compared_where_it_draws_two_of_them():
    # Of short runs it may draw one. Fails if that one is compared with itself, or if gaps below zero are not explained.
    gaps = pd.DataFrame({"n_latent": [10, 200], "ours": [-4.1, -9.4], "paper": [np.nan, -5.8], "dataset": "mnist"})
    said = " ".join(answers.overfitting_in_the_paper(gaps).split())
    assert "200 latent variables" not in said and said.startswith("On train the mean over past minibatches")
    drawn = " ".join(answers.overfitting_in_the_paper(gaps.assign(ours=1.0, paper=[3.1, 1.8])).split())
    assert drawn.endswith("the gap with 200 latent variables is 1.3 nats narrower than with 10.")
    less = " ".join(answers.overfitting_in_the_paper(gaps.assign(ours=1.0, paper=[-0.3, 0.6])).split())
    assert less.endswith("is 0.9 nats wider than with 10."), "a table beside it shows that it is wider"
    alike = " ".join(answers.overfitting_in_the_paper(gaps.assign(ours=1.0, paper=[0.6, 0.6])).split())
    assert alike.endswith("is as wide as with 10.")


def test_a_seed_counts_where_it_starts_with_the_paper_for_each_number_of_latent_variables():
    # Fails if another algorithm's starts count, or a seed that is there for one number of latent variables alone.
    starts = pd.DataFrame({"algorithm": ["aevb", "aevb", "wake_sleep"], "start": [-528.0, -527.9, -526.0]})
    columns = pd.MultiIndex.from_product([["tanh", "softplus"], [2, 20]])
    ours = pd.DataFrame([[-526.1, -526.1, -528.1, -527.8], [-526.1, -526.1, -528.1, -527.0]], columns=columns)
    said = " ".join(answers.starts_of_units("aevb", ours, starts).split())
    assert said.endswith("for 0 of 2 seeds with tanh units and 1 of 2 seeds with softplus units.")


@pytest.mark.parametrize(
    ("mean", "sd", "answer"),
    [
        ((0.0, 0.0), (1.6, 1.9), "They lie further apart"),
        ((-0.5, -1.5), (1.0, 0.95), "and costs 1.25 nats"),
        ((0.0, 0.0), (0.7, 0.7), "No more"),
        ((2.0, 0.0), (0.1, 0.1), "off the centre"),
    ],
)
def test_codes_at_the_edge_are_told_from_codes_off_the_centre(mean, sd, answer):
    # Fails if an offset that all codes share, as after a short training, is called a distance between them.
    z = norm.ppf(np.random.default_rng(0).permuted(np.tile((np.arange(4000) + 0.5) / 4000, (2, 1)), axis=1)).T
    assert answer in " ".join(answers.at_the_edge("frey_face", z * sd + mean).split())


def test_where_aevb_does_not_arrive_no_factor_is_said():
    # Fails with "0.0 times the samples" where AEVB ends more than a nat below wake-sleep, as short runs do.
    aevb, wake_sleep = [-40.0, -30.0, -25.0], [-35.0, -28.0, -20.0]
    runs = [
        _on_test([1000, 2000, 5000], values, dataset="digits", algorithm=algorithm, n_latent=3)
        for algorithm, values in (("aevb", aevb), ("wake_sleep", wake_sleep))
    ]
    said = " ".join(answers.lower_bound(runs).split())
    assert "On Digits (not MNIST) AEVB ends more than 1 nat below wake-sleep in 1 of 1 pairs." in said
    assert "times the samples" not in said


@pytest.mark.parametrize(("samples_counted", "own", "other"), [("updates", 5, 15), ("all_passes", 15, 5)])
def test_monte_carlo_em_is_compared_by_either_count_of_its_samples(samples_counted, own, other):
    # A run that is on the paper's curve by the other count. Fails if a count is scaled the wrong way, or not at all.
    config = RunConfig(
        dataset="mnist", algorithm="mcem", n_latent=3, n_hidden=100, n_train=1000, batch_size=1000, metric="log_px",
        samples_total=60_000_000, samples_counted=samples_counted,
    )  # fmt: skip
    paper = reference.curves(metric="log_px", dataset="mnist", size=1000, algorithm="mcem", split="train")
    samples = 12_000_000
    (value,) = reference.value_at(paper, np.array([samples * other / own]))
    row = {"samples_evaluated": samples, "split": "train", "measure": "evaluated", "value": value, "se": 1.0}
    table = evidence.mcem_counted({"text": [Record(config, pd.DataFrame([row]), {})]}).set_index("a step counts")
    assert abs(table.loc[f"{other} N", "difference"]) < 1e-9 < 2 < abs(table.loc[f"{own} N", "difference"])
    assert table.loc[f"{other} N", "samples_evaluated"] == samples * other // own


def test_what_leads_to_monte_carlo_ems_first_report_is_read_from_the_closest_of_ours():
    # Fails if the seeds are not averaged, if a run far from the paper's is named, or if AEVB's report is taken.
    before = pd.DataFrame({"algorithm": ["aevb", "mcem"], "train": [-180.0, -206.0], "test": [-190.0, -214.0]})
    ours = pd.DataFrame(
        [(0.02, 0, 0, -400.0), (0.1, 0, 0, -209.0), (0.1, 0, 1, -207.0), (0.1, 2, 0, -543.4)],
        columns=["learning_rate", "warm_up_steps", "seed", "train"],
    )
    said = " ".join(answers.first_report(before, ours.assign(test=ours["train"] - 1)).split())
    assert "is -206.0 nats on train and -214.0 on test in the paper" in said
    assert "with a learning rate of 0.1 and no warm-up: -208.0 and -209.0" in said and "it is -543.9" in said


def test_full_vb_gains_where_its_bound_on_test_is_the_higher_one():
    # Fails if the two algorithms change places in the test bound or in the gap.
    for of_map, of_full_vb, said in (
        (10.0, 2.0, "full VB gains 8.0 nats on test; its gap between train and test is 8.0 nats narrower."),
        (2.0, 10.0, "full VB loses 8.0 nats on test; its gap between train and test is 8.0 nats wider."),
    ):
        table = evidence.against_map(curves.evaluated(curves.table(_pair(of_map, of_full_vb))))
        assert said in answers.full_vb_pairs(table)


def test_each_count_of_monte_carlo_ems_samples_is_said_with_its_own_curves():
    # Fails if the counts are mixed, or if distances of both signs cancel.
    judged = pd.DataFrame({
        "a step counts": ["15 N", "15 N", "5 N", "5 N"], "verdict": ["within", "within", "within", "above"],
        "difference": [1.0, -2.0, 3.0, 9.0],
    })  # fmt: skip
    said = " ".join(answers.counts_of_mcem(judged).split())
    assert "counted as 15 N, 2 of 2 curves end within the tolerance; the mean distance from the paper's is 1.5" in said
    assert "counted as 5 N, 1 of 2 curves end within the tolerance; the mean distance from the paper's is 6.0" in said


def test_what_the_drawings_leave_unsettled_is_read_from_their_tables():
    # Fails if another curve's room is taken for that of wake-sleep on Frey Face, or Monte Carlo EM's gains are counted.
    points = pd.DataFrame({
        "dataset": ["frey_face", "frey_face", "mnist", "frey_face"], "steps_at_start": [120.0, 140.0, 1.0, 2.0],
        "algorithm": ["wake_sleep", "wake_sleep", "wake_sleep", "aevb"],
    })  # fmt: skip
    before = pd.DataFrame({
        "algorithm": ["aevb", "wake_sleep", "mcem"], "gain_train": [10.0, 20.0, 900.0], "gain_test": [30.0, 5.0, -9.0],
        "train": [-400.0, -300.0, -1.0], "test": [-390.0, -310.0, 0.0],
    })  # fmt: skip
    said = " ".join(answers.unsettled(points, before).split())
    assert "room for 120.0 to 140.0 minibatches" in said and "gain 5 to 30 nats" in said and "in 1 of 2 runs" in said
