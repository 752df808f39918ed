"""The answer at the head of each notebook: two or three sentences whose numbers are computed from records."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from replication.config import N_MCEM_LEAPFROG, N_MCEM_UPDATES, WARM_UP_STEPS
from replication.paper import claims, comparison, evidence, names
from replication.paper.changes import NO_CHANGE, Change
from replication.runs import curves, parallel
from replication.runs.records import Record

if TYPE_CHECKING:
    from replication.model.latent import Proposals  # imports TensorFlow

EXPLODED = -10_000  # nats; no run that only learns slowly is so far down
START_MARGIN = 0.2  # nats; starts on MNIST, read from the drawing, are as far below -784 ln 2
CLEAR = 2  # times what chance does: beyond that a change counts
AS_WIDE = "as wide"
EDGE = norm.ppf(0.9)  # of a latent variable: beyond it lies a tenth of the prior


def method(proposals: Mapping[str, "Proposals"]) -> str:
    """Notebook 0: how many values of z from the prior and from the encoder count for an image."""
    how = {"prior": "blindly", "encoder": "by the encoder"}
    return names.in_lines(
        f"Proposed {how[name]}, {proposed.ess:.0f} of {proposed.n:,} values of z "
        f"{'counts' if round(proposed.ess) == 1 else 'count'} for an image; the estimate of log p(x) is "
        f"{proposed.log_px:.0f} nats."
        for name, proposed in proposals.items()
    )


def estimators(variance: pd.DataFrame, runs: list[Record], by_size: list[Record], made: Change = NO_CHANGE) -> str:
    """Notebook 1: how much more the other gradients vary, and what that does to training.

    `variance` is the table of `gradients.variances` on the dataset of the first run; of each dataset `runs` have one
    estimator each, `by_size` one M and L each.
    """
    both = variance.query("network == 'encoder' and batch_size == 100 and n_mc_samples == 2")
    samples = both["samples_evaluated"].max()
    ratio = both[both["samples_evaluated"] == samples].set_index("estimator")[["ratio", "ratio_se"]]

    def times(name: str) -> str:
        value, se = ratio.loc[name, ["ratio", "ratio_se"]]
        return f"{value:,.0f} ± {se:,.0f}" if value >= 100 else f"{value:.1f} ± {se:.1f}"

    lines = [
        *change(made),
        f"On {names.DATASETS[runs[0].config.dataset]}, after {samples:,} training samples, the score function's "
        f"gradient varies {times('score_function')} times as much as that of SGVB B; with a baseline, "
        f"{times('score_function_baseline')} times (encoder, M = 100, L = 2; ± one standard error).",
    ]
    by_dataset = _on_test(by_size)
    for dataset, ends in _on_test(runs).groupby("dataset", sort=False):
        bound = ends.set_index("estimator")["value"]
        of_size = by_dataset[(by_dataset["dataset"] == dataset) & (by_dataset["n_mc_samples"] == 1)]
        sizes = of_size.set_index("batch_size")["value"]
        few, many, after = sizes.index.min(), 100, of_size["samples_evaluated"].max()
        lines += [
            f"On {names.DATASETS[str(dataset)]} the bound on test then ends at {bound['sgvb_b']:.1f} nats with SGVB B, "
            f"at {bound['score_function']:.1f} with the score function, and at {bound['score_function_baseline']:.1f} "
            "with its baseline, which takes 2 samples of z.",
            f"After {after:,} training samples a minibatch of {few} is {abs(sizes[few] - sizes[many]):.1f} nats "
            f"{'above' if sizes[few] > sizes[many] else 'below'} the paper's M = {many}, at the same learning rate.",
        ]
    return names.in_lines(lines)


def samples_of_z(by_size: list[Record]) -> str:
    """Notebook 1: whether L = 1 suffices, for each minibatch size M; bounds on test along runs with each M and L."""
    on_test = curves.evaluated(curves.table(by_size)).query("split == 'test'")
    lines = []
    for (dataset, m), rows in on_test.groupby(["dataset", "batch_size"], sort=False):
        bound = rows.pivot(index="point", columns="n_mc_samples", values="value").dropna()
        few, many = bound.columns.min(), bound.columns.max()
        gain = bound[many] - bound[few]
        where = f"M = {m}" if on_test["dataset"].nunique() == 1 else f"{names.DATASETS[dataset]}, M = {m}"
        ends = f"{where}: with L = {many} the bound on test ends {_signed(gain.iloc[-1])} nats from that with L = {few}"
        if abs(gain.iloc[-1]) <= claims.LESS:
            lines.append(f"{ends}: within {claims.LESS:g} nat, so L = {many} shows no gain.")
        else:
            n_ahead = (gain > 0).sum()
            tells = (
                "two runs of one seed do not tell L from chance"
                if n_ahead == 0 or len(gain) == 1
                else f"unless that is chance, each being one run, L = {few} does not suffice"
                if n_ahead == len(gain)
                else "the lead changes: the two runs do not tell L from chance"
            )
            lines.append(
                f"{ends}, after {bound.index[-1] / m:,.0f} updates. L = {many} was ahead at {n_ahead} of "
                f"{parallel.counted(len(gain), 'point')}; {tells}."
            )
            climb = bound[few].diff().iloc[-1]
            if climb > abs(gain.iloc[-1]):
                lines[-1] += f" That is early: L = {few} still rose by {climb:.1f} nats since the point before."
    return names.in_lines(lines)


def change(made: Change) -> list[str]:
    """What a changed assumption does on test; nothing where none is changed."""
    on_test = made.effect[made.effect["split"] == "test"]
    lines = []
    for dataset, rows in on_test.groupby("dataset", sort=False):
        clear = rows["difference"].abs() > CLEAR * rows["by_chance"]
        higher, lower = ((clear & side).sum() for side in (rows["difference"] > 0, rows["difference"] < 0))
        low, high, by_chance = rows["difference"].min(), rows["difference"].max(), rows["by_chance"].dropna().unique()
        lines.append(
            f"With {made.words} on {names.DATASETS[str(dataset)]}, minus the standard run at the last point that both "
            f"have, on test: {names.range_in_words(low, high, '{:+.1f}'.format)} nats. "
            + (
                "Two standard runs of different seeds are "
                f"{names.range_in_words(by_chance.min(), by_chance.max(), '{:.1f}'.format)} nats apart (a standard "
                f"deviation); by more than {CLEAR} of these {higher} of {parallel.counted(len(rows), 'pair')} of runs "
                f"are higher, {lower} lower."
                if rows["by_chance"].notna().all()
                else "Without runs of several seeds it is not known what chance does to such a difference."
            )
        )
    if made.words and on_test.empty and not made.n_alone:
        lines.append(f"With {made.words} the runs are the standard ones: nothing is changed.")
    if made.n_alone:
        lines.append(
            f"{parallel.counted(made.n_alone, 'run')} with {made.words} ha{'s' if made.n_alone == 1 else 've'} no "
            "standard run to be compared with: none is recorded that begins as early, and at paper scale none is "
            "trained for it."
        )
    return lines


def lower_bound(runs: list[Record], made: Change = NO_CHANGE) -> str:
    """Notebook 2: whether AEVB is ahead of wake-sleep, by how much, and how many curves are the paper's."""
    table = comparison.compare(curves.table(runs))
    above = claims.check(table, claims=[claims.ABOVE])
    in_paper = claims.counted(above, "paper", with_failures=False) + claims.places_of_failures(above, "paper")
    lines = [
        *change(made),
        "AEVB is above wake-sleep at every evaluation point from where the paper draws both curves on, in "
        f"{claims.counted(above, with_failures=False)} pairs of curves{claims.failures(above)}"
        + (f" (the paper's curves: {in_paper})." if above["paper"].notna().any() else "."),
    ]
    whole = claims.of_whole_drawing(claims.SAMPLES_NEEDED)
    for dataset, cases in claims.check(table, claims=[claims.SAMPLES_NEEDED]).groupby("dataset", sort=False):
        arrived = claims.arrived(cases)
        where = f"On {names.DATASETS[str(dataset)]}"
        ends = names.range_in_words(
            cases["samples_evaluated"].min(), cases["samples_evaluated"].max(), names.scientific
        )
        if late := len(cases) - len(arrived):
            lines.append(
                f"{where} AEVB ends more than {claims.LESS:g} nat below wake-sleep in {late} of {len(cases)} pairs."
            )
        if len(arrived):
            ours, paper = (claims.range_in_words(arrived, source, digits=1) for source in claims.SOURCES)
            to_their_ends = claims.range_in_words(whole[whole["dataset"] == dataset], "paper", digits=1)
            lines.append(
                f"{where} wake-sleep takes {ours} times the samples of AEVB to come within {claims.LESS:g} nat of the "
                f"bound that it has after {ends} samples, where our curves end (the paper's curves: {paper}; to their "
                f"own ends: {to_their_ends})."
            )
            if untold := arrived["holds"].isna().sum():
                lines[-1] += f" In {untold} of {len(cases)} pairs both are there at their first point."
    return names.in_lines([*lines, _within(table)])


def marginal_likelihood(runs: list[Record], made: Change = NO_CHANGE) -> str:
    """Notebook 3: which algorithm explains the data best, and where we are furthest from the paper."""
    every_curve = curves.table(runs)
    table = comparison.compare(every_curve)
    lines = change(made)
    ranked = comparison.best_on_test(every_curve)
    best_of = dict(list(ranked.groupby(curves.PANEL, sort=False)))
    for panel in every_curve[curves.PANEL].drop_duplicates().itertuples(index=False, name=None):
        _, dataset, n_train = panel
        where = (
            f"{names.DATASETS[dataset]}, N = {n_train}" if every_curve["dataset"].nunique() > 1 else f"N = {n_train}"
        )
        best = best_of.get(panel)
        if best is None:
            lines.append(f"{where}: the algorithms have no evaluation point in common, so none is said to win.")
            continue
        point = names.scientific(best["point"].iloc[0])
        ours = _in_order(best, "value")
        lines.append(f"{where}: log p(x) on test after {point} samples: {', '.join(ours.values())} nats.")
        on_test = table[(table["dataset"] == dataset) & (table["size"] == n_train) & (table["split"] == "test")]
        drawn = curves.last_common(on_test.assign(run_id=on_test["algorithm"]).dropna(subset=["paper"]))
        if len(drawn) == len(best):
            paper = _in_order(drawn, "paper")
            first = next(iter(paper))
            lead = best["value"].iloc[0] - best["value"].iloc[1] if len(best) > 1 else np.inf
            wins = "wins there, too" if first == next(iter(ours)) else "wins there"
            if lead < claims.LESS:
                wins = f"wins there; here the first two are within {claims.LESS:g} nat"
            lines.append(
                f"{where} in the paper, after {names.scientific(drawn['point'].iloc[0])}: {', '.join(paper.values())} "
                f"nats; {names.ALGORITHMS[first]} {wins}."
            )
    judged = comparison.judge(table).dropna(subset=["difference"])
    if len(judged):
        worst = judged.loc[judged["difference"].abs().idxmax()]
        lines.append(
            f"Our largest difference at the right edge: {names.ALGORITHMS[worst['algorithm']]}, N = {worst['size']}, "
            f"on {worst['split']}, {_signed(worst['difference'])} nats from the paper's curve."
        )
    return names.in_lines([*lines, _within(table)])


def authors_estimator(known: pd.DataFrame, compared: pd.DataFrame) -> str:
    """Notebook 3: how far the authors' estimator is off, and what it explains of our difference to the paper.

    `known` is the table of `authors_estimator.on_known_models`, `compared` that of `evidence.authors_beside_the_paper`.
    """
    three = known[known["n_latent"] == 3]
    off = [
        f"in report {number} by "
        + " and ".join(f"{bias:+.2f} ± {se:.2f}" for bias, se in reports[["bias", "bias_se"]].to_numpy())
        for number, reports in three.groupby("report")
    ]
    lines = [f"On the known models with 3 latent variables it is off {', '.join(off)} nats."]
    late = compared[(compared["chains"] == "living") | (compared["report"] == compared["report"].min())]
    for (algorithm, n_train, split), rows in late.groupby(["algorithm", "n_train", "split"], sort=False):
        fresh, living = (rows[rows["chains"] == chains].iloc[0] for chains in ("fresh", "living"))
        lines.append(
            f"{names.ALGORITHMS[algorithm]}, N = {n_train}, {split}: ours is {_signed(fresh['ours_above'])} from the "
            f"paper's curve, the authors' estimate of our model {_signed(fresh['authors_above'])} by fresh chains, "
            f"{_signed(living['authors_above'])} by living ones."
        )
    for chains, rows in late.groupby("chains"):
        nearer = rows["ours_above"].abs() - rows["authors_above"].abs()
        lines.append(
            f"By {chains} chains it is nearer to the paper's curve than ours by more than a nat on "
            f"{(nearer > 1).sum()} of {len(rows)}, further by more than a nat on {(nearer < -1).sum()}."
        )
    return names.in_lines(lines)


def counts_of_mcem(judged: pd.DataFrame) -> str:
    """Notebook 3: how many curves fit by either count of Monte Carlo EM's samples, from `evidence.mcem_counted`."""
    lines = []
    for passes, rows in judged.groupby("a step counts"):
        within = int((rows["verdict"] == "within").sum())
        lines.append(
            f"With a step counted as {passes}, {within} of {len(rows)} curves end within the tolerance; the mean "
            f"distance from the paper's is {rows['difference'].abs().mean():.1f} nats."
        )
    return names.in_lines(lines or ["No run of Monte Carlo EM goes as far as the curves of the paper."])


def manifolds(runs: list[Record], made: Change = NO_CHANGE) -> str:
    """Notebook 4: what two latent variables say of an image."""
    on_test = curves.last(curves.table(runs)).query("split == 'test'")
    lines = [
        f"{names.DATASETS[row['dataset']]}: after {row['samples_evaluated']:,} training samples the lower bound on "
        f"test is {row['value']:.0f} nats. What the two latent variables say of an image, the KL of q(z|x) to the "
        f"prior, is {row['kl']:.1f} nats."
        for _, row in on_test.iterrows()
    ]
    return names.in_lines([*change(made), *lines])


def at_the_edge(dataset: str, z: np.ndarray) -> str:
    """Notebook 4: what share of the codes z [N, 2] is at the edge, and whether they lie far apart or off the centre.

    The edge is the outer tenth of the prior's unit square on each side.
    """
    mean, sd = z.mean(axis=0), z.std(axis=0)
    share, centred = (np.mean((np.abs(codes) > EDGE).any(axis=1)) for codes in (z, z - mean))
    prior = 1 - 0.8**2
    if share <= prior:
        room = "No more are there than the prior puts there."
    elif centred <= prior + 0.1:
        room = (
            f"They lie off the centre: that tells no two images apart, and costs {np.sum(mean**2) / 2:.2f} nats of KL."
        )
    else:
        room = "They lie further apart than draws of the prior."
    return names.in_lines([
        f"{names.DATASETS[dataset]}: {share:.0%} at the edge (prior: {prior:.0%}), {centred:.0%} were their mean 0. "
        f"Mean {mean[0]:.2f} and {mean[1]:.2f}, standard deviation {sd[0]:.2f} and {sd[1]:.2f} (prior: 0 and 1). "
        f"{room}"
    ])  # fmt: skip


def exploded(table: pd.DataFrame) -> str:
    """Notebook 2: how many runs a learning rate has thrown far down; `table` is `rates.by_first_iterations`'."""
    by_rate = table.drop(columns=["se", "chosen"])
    return names.in_lines(
        f"With learning rate {rate:g}, {parallel.counted(int((bound < EXPLODED).sum()), 'run')} of {len(bound)} "
        f"{'is' if (bound < EXPLODED).sum() == 1 else 'are'} below {EXPLODED:,} nats, the lowest at {bound.min():.0e}."
        for rate, bound in by_rate.items()
        if (bound < EXPLODED).any()
    )


def superfluous(runs: list[Record], units: Mapping[str, pd.DataFrame], made: Change = NO_CHANGE) -> str:
    """Notebook 5: how many latent variables are used, and whether more of them widen the gap between train and test.

    `runs` are AEVB's, `units` the tables of `evidence.active_units` by dataset.
    """
    lines = change(made)
    for dataset, models in units.items():
        used = ", ".join(f"{active:.0f} of {n_latent}" for n_latent, active in models["active"].items())
        ends = models["samples"]
        lines.append(
            f"On {names.DATASETS[dataset]} latent variables with a KL above {evidence.ACTIVE} nats: {used}; after "
            f"{names.range_in_words(ends.min(), ends.max(), names.scientific)} training samples."
        )
    gaps = claims.check(comparison.compare(curves.table(runs)), claims=[claims.GAP])
    for dataset, cases in gaps.groupby("dataset", sort=False):
        ours, paper = (claims.counted(cases, source, with_failures=False) for source in claims.SOURCES)
        lines.append(
            f"On {names.DATASETS[str(dataset)]}, after {names.scientific(cases['samples_evaluated'].max())} training "
            f"samples, the gap between train and test is no wider (within {claims.WIDER:g} nat) with more of them in "
            f"{ours} cases of ours"
            + (f" and {paper} of the paper's own curves." if cases["holds_in_paper"].notna().any() else ".")
        )
    return names.in_lines(lines)


def overfitting_in_the_paper(gaps: pd.DataFrame) -> str:
    """Notebook 5: whether the paper's own gaps grow with Nz, from the table of `claims.gaps_by_n_latent`."""
    lines = []
    for dataset, rows in gaps.dropna(subset=["paper"]).groupby("dataset", sort=False):
        if len(rows) == 1:
            continue  # the paper draws the others later
        first, last = rows.sort_values("n_latent").iloc[[0, -1]].itertuples()
        change = _wider(last.paper - first.paper)
        lines.append(
            f"In the paper's own curves on {names.DATASETS[str(dataset)]} the gap with {last.n_latent:.0f} latent "
            f"variables is {change} {'as' if change == AS_WIDE else 'than'} with {first.n_latent:.0f}."
        )
    if (gaps["ours"] < 0).any():
        lines.append(
            "On train the mean over past minibatches is reported: where the bound still rises fast, it is below the "
            "model's, and the gap can be below zero."
        )
    return names.in_lines(lines or ["The paper draws no two such curves of these data."])


def why_few_overfit(gaps: pd.DataFrame) -> str:
    """Notebook 5: which part of the smallest model makes its gap, from the table of `inference_gap.gaps`."""
    few = gaps.loc[gaps["n_latent"].idxmin()]
    encoder = gaps.assign(value=gaps["mean"] + gaps["log_var"], value_se=gaps["mean_se"] + gaps["log_var_se"])
    known = gaps.dropna(subset=["log_px"])
    none = known["log_px"].abs() < 2 * known["log_px_se"]
    return names.in_lines([
        f"With {few['n_latent']:.0f} latent variables AEVB's bound on MNIST is {_with_se(few, 'gap')} nats higher on "
        f"train than on test: {few['reconstruction']:.1f} in the reconstruction, {few['kl']:.1f} in the KL term.",
        f"The encoder's means lose {_with_se(few, 'mean')} nats more on test than on train, its variances "
        f"{_with_se(few, 'log_var')}, the diagonal Gaussian {_with_se(few, 'approximation')}. The gap of log p(x), "
        f"which the decoder has, is {_with_se(few, 'log_px')}.",
        "What the encoder loses more on test, of the gap, by the number of latent variables: "
        + ", ".join(
            f"{_with_se(row, 'value')} of {_with_se(row, 'gap')} with {row['n_latent']:.0f}"
            for _, row in encoder.iterrows()
        ) + " (standard errors of the first at most so large).",
        f"The gap of log p(x) is within two standard errors of 0 in {none.sum()} of {len(known)} models.",
    ])  # fmt: skip


def full_vb(runs: list[Record], made: Change = NO_CHANGE) -> str:
    """Notebook 6: what a posterior over the weights buys."""
    evaluated = curves.evaluated(curves.table(runs))
    table = evidence.against_map(evaluated)
    test, at_mean = (
        each["test", "full VB"] - each["test", "MAP"] for each in (table, evidence.against_map(evaluated, "at_mean"))
    )
    share = (table["gap", "full VB"] / table["gap", "MAP"])[table["gap", "MAP"] > claims.WIDER]
    return names.in_lines([
        *change(made),
        _narrowest(share),
        f"On test the bound of full VB with sampled weights is above MAP's in {_higher(test)}.",
        f"With the weights at their mean it is above in {_higher(at_mean)}.",
    ])  # fmt: skip


def full_vb_pairs(table: pd.DataFrame) -> str:
    """Notebook 6: what full VB buys and costs, one line per pair of runs, from the table of `evidence.against_map`."""
    lines = []
    for pair, row in table.iterrows():
        test, gap = (row[column, "full VB"] - row[column, "MAP"] for column in ("test", "gap"))
        lines.append(
            f"{_pair(*pair)}: full VB {'gains' if test > 0 else 'loses'} {abs(test):.1f} nats on test; its gap between "
            f"train and test is {_wider(gap)}."
        )
    return "\n".join(lines)


def graphics(
    minibatches: pd.DataFrame, mcem: pd.DataFrame, starts: pd.DataFrame, points: pd.DataFrame, before: pd.DataFrame
) -> str:
    """The graphics' notebook: what the drawings say of minibatches, start and warm-up.

    `minibatches` and `mcem` are tables of `graphics.largest_that_fits`, the others those of `graphics.starts`,
    `graphics.first_dashed_points` and `graphics.reports_before_the_axes`.
    """
    (first,) = before[before["algorithm"] == "mcem"].itertuples()
    sizes = [
        f"{'/'.join(map(str, sorted(set(m))))} on {names.DATASETS[str(name)]}"
        for name, m in minibatches.groupby("dataset")["minibatch"]
    ]
    ranges = [
        f"{bound.min():.1f} to {bound.max():.1f} nats on {names.DATASETS[str(name)]}"
        for name, bound in starts.groupby("dataset")["start"]
    ]
    passes = "/".join(map(str, sorted(set(mcem["passes"]))))
    room = points.loc[points["steps_at_start"].idxmin()]
    return names.in_lines([
        f"In figure 2 reports come after whole minibatches: M = {' and '.join(sizes)}, in each of {len(minibatches)} "
        f"panels. Monte Carlo EM's in figure 3 come after multiples of {passes} N samples: {N_MCEM_LEAPFROG} leapfrog "
        f"steps and {N_MCEM_UPDATES} updates.",
        f"After the first minibatch the bound is {' and '.join(ranges)}, on train and test alike: no weight has moved. "
        "Weights near zero give -784 ln 2 = -543.4 nats on MNIST.",
        f"The first dashed points leave room at the start for {room['steps_at_start']:.0f} minibatches, where it is "
        f"the least: {names.ALGORITHMS[room['algorithm']]} on {names.DATASETS[room['dataset']]}, Nz = "
        f"{room['n_latent']}. The authors' warm-up takes {WARM_UP_STEPS['aevb']}.",
        f"In figure 3 log p(x) of Monte Carlo EM with N = {first.n_train} is {first.train:.1f} nats on train and "
        f"{first.test:.1f} on test at its first report: its weights have moved, so it did not wait for the authors' "
        "warm-up of 10 updates.",
    ])  # fmt: skip


def starts_of_units(algorithm: str, ours: pd.DataFrame, starts: pd.DataFrame) -> str:
    """The graphics' notebook: how many of our seeds start where an algorithm's curves do in the paper, by the units.

    `ours` is the table of `first_steps.starts_of_units`, `starts` has the rows of `graphics.starts` on the dataset.
    """
    paper = starts.loc[starts["algorithm"] == algorithm, "start"]
    low, high = paper.min() - START_MARGIN, paper.max() + START_MARGIN
    is_there = ((ours >= low) & (ours <= high)).T.groupby(level=0, sort=False).all().T
    seeds = " and ".join(f"{n} of {len(ours)} seeds with {units} units" for units, n in is_there.sum().items())
    name = names.ALGORITHMS[algorithm]
    return names.in_lines([
        f"{name[0].upper()}{name[1:]} starts at {paper.min():.1f} to {paper.max():.1f} nats in the paper. Ours "
        f"starts within {START_MARGIN} nats of that, whatever the number of latent variables, for {seeds}."
    ])  # fmt: skip


def first_report(before: pd.DataFrame, ours: pd.DataFrame) -> str:
    """The graphics' notebook: log p(x) after Monte Carlo EM's first step in the paper, and ours with what leads there.

    `before` is the table of `graphics.reports_before_the_axes`, `ours` that of `first_steps.first_report_of_mcem`.
    """
    (paper,) = before[before["algorithm"] == "mcem"].itertuples()
    candidates = {at: rows[["train", "test"]].mean() for at, rows in ours.groupby(["learning_rate", "warm_up_steps"])}
    rate, steps = min(candidates, key=lambda at: abs(candidates[at] - [paper.train, paper.test]).sum())
    closest, waiting = candidates[rate, steps], ours.loc[ours["warm_up_steps"] > 0, ["train", "test"]].to_numpy().mean()
    return names.in_lines([
        f"After one step log p(x) is {paper.train:.1f} nats on train and {paper.test:.1f} on test in the paper. Ours "
        f"comes closest with a learning rate of {rate:g} and {names.warm_up(steps)}: {closest['train']:.1f} and "
        f"{closest['test']:.1f}. With the authors' warm-up it is {waiting:.1f}.",
    ])  # fmt: skip


def unsettled(points: pd.DataFrame, before: pd.DataFrame) -> str:
    """The graphics' notebook: what the drawings show and nobody explains; `before` as `first_report` has it."""
    stays = points[(points["dataset"] == "frey_face") & (points["algorithm"] == "wake_sleep")]["steps_at_start"]
    second = before[before["algorithm"] != "mcem"]
    gains = second[["gain_train", "gain_test"]].to_numpy()
    return names.in_lines([
        f"Wake-sleep on Frey Face leaves room for {stays.min():.1f} to {stays.max():.1f} minibatches at the start, "
        "with any number of latent variables, and never steps off its plateau.",
        f"In figure 3 AEVB and wake-sleep gain {gains.min():.0f} to {gains.max():.0f} nats from their second report to "
        f"their third, and at the second train is below test in {(second['train'] < second['test']).sum()} of "
        f"{len(second)} runs.",
    ])  # fmt: skip


def _in_order(rows: pd.DataFrame, column: str) -> dict[str, str]:
    """By algorithm, the highest first: its name and value [nats]."""
    highest_first = rows.sort_values(column, ascending=False)[["algorithm", column]]
    return {name: f"{names.ALGORITHMS[name]} {value:.1f}" for name, value in highest_first.itertuples(index=False)}


def _wider(nats: float) -> str:
    """A change of a gap as it reads after rounding."""
    if f"{abs(nats):.1f}" == "0.0":
        return AS_WIDE
    return f"{abs(nats):.1f} nats {'narrower' if nats < 0 else 'wider'}"


def _narrowest(share: pd.Series) -> str:
    """Where full VB's gap between train and test is the smallest share of MAP's, of the pairs of runs that have one."""
    if share.empty:
        return f"MAP's gap between train and test is nowhere above {claims.WIDER:g} nat: there is none to narrow."
    return (
        f"Where MAP's gap between train and test is above {claims.WIDER:g} nat, full VB's is at best "
        f"{share.min():.0%} of it ({_pair(*share.idxmin())}), at worst {share.max():.0%}."
    )


def _higher(gain: pd.Series) -> str:
    """In how many pairs of runs full VB gains on test, how much [nats], and where most."""
    nats = names.range_in_words(gain.min(), gain.max(), "{:+.1f}".format)
    return f"{(gain > 0).sum()} of {len(gain)} pairs of runs: {nats} nats, highest at {_pair(*gain.idxmax())}"


def _pair(dataset: str, n_latent: int, n_train: int) -> str:
    """What a run of full VB and one of MAP have in common; the dataset is said where it is not the paper's MNIST."""
    where = "" if dataset == "mnist" else f"{names.DATASETS[dataset]}, "
    return f"{where}Nz = {n_latent}, N = {n_train}"


def _within(table: pd.DataFrame) -> str:
    return comparison.in_words(comparison.counts(comparison.judge(table)))


def _on_test(runs: list[Record]) -> pd.DataFrame:
    """The rows on test at the last evaluation point that all runs of a dataset have."""
    on_test = curves.evaluated(curves.table(runs)).query("split == 'test'")
    return curves.last_common(on_test, alike=["dataset"])


def _with_se(row: pd.Series, name: str) -> str:
    return f"{round(row[name], 1) + 0.0:.1f} ± {row[f'{name}_se']:.1f}"  # no -0.0


def _signed(nats: float) -> str:
    return "0.0" if np.isclose(nats, 0, atol=0.05) else f"{nats:+.1f}"
