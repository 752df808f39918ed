"""The answer at the head of each notebook: two or three sentences whose numbers are computed from records."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from replication.config import N_MCEM_UPDATES
from replication.paper import appendix_f, claims, names, verdict
from replication.paper.graphics import WARM_UP_STEPS
from replication.runs import curves
from replication.runs.records import Record

if TYPE_CHECKING:
    from replication.model.latent import Proposals  # imports TensorFlow


def method(proposals: Mapping[str, "Proposals"]) -> str:
    """Notebook 0: how many values of z from the prior and from the encoder count for an image."""
    return names.in_lines(
        f"Of {found.n:,} values of z from the {name}, {found.ess:.0f} count for an image; "
        f"they put log p(x) at {found.log_px:.0f} nats."
        for name, found in proposals.items()
    )


def estimators(variance: pd.DataFrame, runs: list[Record], by_size: list[Record]) -> str:
    """Notebook 1: how much more the other gradients vary, and what that does to training.

    `variance` is the table of `gradients.variances`; `runs` have one estimator each, `by_size` one M and L each.
    """
    both = variance.query("network == 'encoder' and batch_size == 100 and n_mc_samples == 2")
    at = both["samples_evaluated"].max()
    ratio = both[both["samples_evaluated"] == at].set_index("estimator")[["ratio", "ratio_se"]]

    def of(name: str) -> str:
        value, se = ratio.loc[name, ["ratio", "ratio_se"]]
        return f"{value:,.0f} ± {se:,.0f}" if value >= 100 else f"{value:.1f} ± {se:.1f}"

    bound = _last_on_test(runs, "estimator")
    sizes = _last_on_test(by_size, "batch_size", "n_mc_samples").xs(1, level="n_mc_samples")
    few, many = sizes.index.min(), 100
    return names.in_lines([
        f"After {at:,} training samples the score function's gradient varies {of('score_function')} times as much as "
        f"that of SGVB B; with a baseline, {of('score_function_baseline')} times (encoder, M = 100, L = 2; ± "
        "one standard error).",
        f"The bound on test then ends at {bound['sgvb_b']:.1f} nats with SGVB B, at {bound['score_function']:.1f} with "
        f"the score function, and at {bound['score_function_baseline']:.1f} with its baseline, which takes 2 samples "
        "of z.",
        f"At equal training samples a minibatch of {few} ends {abs(sizes[few] - sizes[many]):.1f} nats "
        f"{'above' if sizes[few] > sizes[many] else 'below'} the paper's M = {many}.",
    ])  # fmt: skip


def lower_bound(runs: list[Record]) -> str:
    """Notebook 2: whether AEVB is ahead of wake-sleep, by how much, and how many curves are the paper's."""
    table = verdict.compare_with_paper(curves.as_reported(curves.table(runs)))
    above = claims.above(table)
    lines = [
        "From where the paper draws both, AEVB is above wake-sleep at every evaluation point in "
        f"{_holds(above)} curves{_except(above)}."
    ]
    for dataset, cases in _by_dataset(claims.samples_needed(table)):
        ours, paper = (claims.range_in_words(cases, source, digits=1) for source in claims.SOURCES)
        lines.append(
            f"On {dataset} wake-sleep takes {ours} times the samples of AEVB to come within {claims.LESS:g} nat of its "
            f"own last bound (the paper's curves: {paper})."
        )
    return names.in_lines([*lines, _within(table, 2)])


def marginal_likelihood(runs: list[Record]) -> str:
    """Notebook 3: which algorithm explains the data best, and where we are furthest from the paper."""
    table = verdict.compare_with_paper(curves.as_reported(curves.table(runs)), 3)
    lines = []
    for n_train, of in table[table["split"] == "test"].groupby("n_train"):
        end = of.groupby("algorithm")["samples_evaluated"].max().min()
        at_end = of[of["samples_evaluated"] == end].sort_values("ours", ascending=False)
        order = ", ".join(
            f"{names.ALGORITHMS[a]} {v:.0f}" for a, v in zip(at_end["algorithm"], at_end["ours"], strict=True)
        )
        lines.append(f"N = {n_train}: log p(x) on test after {names.scientific(end)} samples: {order} nats.")
    misses = verdict.judge(table, 3).dropna(subset=["difference"])
    worst = misses.loc[misses["difference"].abs().idxmax()] if len(misses) else None
    if worst is not None:
        lines.append(
            f"Our largest difference: {names.ALGORITHMS[worst['algorithm']]}, N = {worst['n_train']}, on "
            f"{worst['split']}, {_signed(worst['difference'])} nats from the paper's curve."
        )
    return names.in_lines([*lines, _within(table, 3)])


def manifolds(runs: list[Record]) -> str:
    """Notebook 4: what two latent variables say of an image."""
    return names.in_lines(
        f"{names.DATASETS[run.config.dataset]}: two latent variables reach a bound of "
        f"{_on_test(run)['value']:.0f} nats on test after {run.samples_evaluated:,} samples; "
        f"they tell {_on_test(run)['kl']:.1f} nats of each image."
        for run in runs
    )


def superfluous(runs: list[Record], units: pd.DataFrame) -> str:
    """Notebook 5: how many latent variables are used, and whether more of them widen the gap between train and test.

    `runs` are AEVB's, `units` the table of `claims.active_units`.
    """
    n_latent, most = units.index.max(), units.loc[units.index.max()]
    lines = [f"Of {n_latent} latent variables the model uses {most['active']:.0f} (KL above {claims.ACTIVE} nats)."]
    table = claims.gap(verdict.compare_with_paper(curves.as_reported(curves.table(runs))))
    for dataset, cases in _by_dataset(table):
        known = cases[cases["holds_in_paper"].notna()]
        lines.append(
            f"On {dataset} the gap between train and test is no wider (within {claims.WIDER:g} nat) with more of them "
            f"in {_holds(cases)} cases of ours"
            + (f" and {_holds(known, 'holds_in_paper')} of the paper's own curves." if len(known) else ".")
        )
    return names.in_lines(lines)


def full_vb(runs: list[Record]) -> str:
    """Notebook 6: what a posterior over the weights buys and costs."""
    every = curves.table(runs)
    table = appendix_f.against_map(curves.last(curves.evaluated(every)))
    test = table["test", "full VB"] - table["test", "MAP"]
    share = (table["gap", "full VB"] / table["gap", "MAP"])[table["gap", "MAP"] > claims.WIDER]
    seconds = every.groupby(["algorithm", "n_latent", "n_train"])["seconds"].max()
    times = seconds["full_vb"] / seconds["aevb"]
    best_z, best_n = test.idxmax()
    return names.in_lines([
        _narrowest(share),
        f"On test full VB is higher in {(test > 0).sum()} of {len(test)} pairs of runs; from {test.min():+.1f} to "
        f"{test.max():+.1f} nats, the latter at Nz = {best_z}, N = {best_n}.",
        f"It took {times.min():.1f} to {times.max():.1f} times the seconds, on machines with other work to do.",
    ])  # fmt: skip


def graphics(minibatches: pd.DataFrame, mcem: pd.DataFrame, starts: pd.DataFrame, points: pd.DataFrame) -> str:
    """The graphics' notebook: what the drawings say of minibatches, start and warm-up.

    `minibatches` and `mcem` are tables of `graphics.largest_that_fits`, the others those of `graphics.starts` and
    `graphics.first_dashed_points`.
    """
    m = {str(name): "/".join(map(str, sorted(set(of)))) for name, of in minibatches.groupby("dataset")["minibatch"]}
    sizes = [f"{m[name]} on {names.DATASETS[name]}" for name in m]
    at_start = starts.groupby("dataset")["start"]
    ranges = [f"{of.min():.1f} to {of.max():.1f} nats on {names.DATASETS[str(name)]}" for name, of in at_start]
    passes = "/".join(map(str, sorted(set(mcem["passes"]))))
    return names.in_lines([
        f"In figure 2 reports come after whole minibatches: M = {' and '.join(sizes)}, in each of {len(minibatches)} "
        f"panels. Monte Carlo EM's in figure 3 come after multiples of {passes} N samples.",
        f"After the first minibatch the bound is {' and '.join(ranges)}, on train and test alike: the weights are near "
        "zero and have not moved.",
        f"The first dashed points leave room for at most {points['steps_at_start'].min():.0f} minibatches there; the "
        f"authors' warm-up takes {WARM_UP_STEPS}.",
    ])  # fmt: skip


def unsettled(starts: pd.DataFrame, points: pd.DataFrame, mcem: pd.DataFrame, expected: Mapping[str, float]) -> str:
    """The graphics' notebook: what the drawings show and nobody explains; `expected` as computed from the images."""
    face = starts[(starts["dataset"] == "frey_face") & (starts["split"] == "train")]
    start = face.pivot(index="n_latent", columns="algorithm", values="start")
    lower = start["wake_sleep"] - start["aevb"]
    stays = points[(points["dataset"] == "frey_face") & (points["algorithm"] == "wake_sleep")]["steps_at_start"]
    seen = f", {expected['frey_face'] - start['aevb'].mean():.1f} below the images'" if "frey_face" in expected else ""
    return names.in_lines([
        f"AEVB starts {lower.min():.1f} to {lower.max():.1f} nats below wake-sleep on Frey Face{seen}, with any number "
        "of latent variables.",
        f"Wake-sleep on Frey Face leaves room for {stays.min():.1f} to {stays.max():.1f} minibatches at the start, "
        "with any number of latent variables, and never steps off its plateau.",
        f"Monte Carlo EM reports at multiples of {mcem['passes'].iloc[0]} N; the text's step has {N_MCEM_UPDATES} "
        "weight updates.",
    ])  # fmt: skip


def _narrowest(share: pd.Series) -> str:
    """Where full VB's gap between train and test is the smallest share of MAP's, of the pairs of runs that have one."""
    if share.empty:
        return f"MAP's gap between train and test is nowhere above {claims.WIDER:g} nat: there is none to narrow."
    n_latent, n_train = share.idxmin()
    return (
        f"Where MAP's gap between train and test is above {claims.WIDER:g} nat, full VB's is at best "
        f"{share.min():.0%} of it (Nz = {n_latent}, N = {n_train}), at worst {share.max():.0%}."
    )


def _within(table: pd.DataFrame, figure: int) -> str:
    judged = verdict.judge(table, figure)
    counts = verdict.counts([judged])
    return (
        f"Of the paper's {counts['curves']} curves of this figure {counts['within']} are within the tolerance at the "
        f"right edge, {counts['above']} above, {counts['below']} below, {counts['not run']} not run."
    )


def _by_dataset(table: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    return table.groupby(table["panel"].str.split(",").str[0], sort=False)


def _holds(table: pd.DataFrame, column: str = "holds") -> str:
    known = table[column].dropna().astype(bool)
    return f"{known.sum()} of {len(known)}"


def _except(table: pd.DataFrame) -> str:
    """Where a claim does not hold."""
    fails = table[table["holds"].eq(False)]
    each = [f"{row['panel']} on {row['split']}" for _, row in fails.iterrows()]
    return f", not in {', '.join(each)}" if each else ""


def _last_on_test(runs: list[Record], *by: str) -> pd.Series:
    """The last bound on test per value of `by` [nats]."""
    table = curves.table(runs)
    on_test = table[table["split"] == "test"].sort_values("samples_evaluated")
    return on_test.groupby(list(by))["value"].last()


def _on_test(run: Record) -> pd.Series:
    return run.curve[run.curve["split"] == "test"].iloc[-1]


def _signed(nats: float) -> str:
    return "0.0" if np.isclose(nats, 0, atol=0.05) else f"{nats:+.1f}"
