"""Records against the paper: comparisons are computed here and stated nowhere else."""

from collections.abc import Callable, Iterable

import pandas as pd

from replication import reference
from replication.records import Record
from replication.records import curves as curves_of

PANELS = {  # what tells the curves of a figure apart, and the column that it shows
    2: (["dataset", "n_latent", "algorithm", "split"], "bound"),
    3: (["dataset", "n_train", "algorithm", "split"], "log_px"),
}
RUN = ["dataset", "algorithm", "n_latent"]
ACTIVE = 0.01  # nats: a latent dimension with a smaller KL says nothing of x
MILLIONS = (1, 5, 10, 20, 40, 60)
ORDERINGS = {  # of the paper's figure 3: (above, below) per number of training datapoints
    1000: (("aevb", "wake_sleep"), ("mcem", "wake_sleep")),
    50_000: (("aevb", "wake_sleep"), ("wake_sleep", "mcem")),
}


def final_values(curves: pd.DataFrame, figure: int = 2) -> pd.DataFrame:
    """Per curve of a figure: our last value, the paper's at the same number of samples, the difference [nats]."""
    panel, column = PANELS[figure]
    run = [name for name in panel if name != "split"]
    last = curves.groupby(run)["samples_evaluated"].transform("max")
    final = curves[curves["samples_evaluated"] == last].rename(columns={column: "ours", f"{column}_se": "se"})
    table = final.groupby(panel, as_index=False)[["samples_evaluated", "ours", "se"]].mean()
    paper_at = _paper(figure)
    table["paper"] = [paper_at(tuple(row[panel]), row["samples_evaluated"]) for _, row in table.iterrows()]
    table["difference"] = table["ours"] - table["paper"]
    return table


def _paper(figure: int) -> Callable[[tuple, float], float]:
    """The paper's value for a panel and a number of samples; NaN where the figure has no such curve."""
    panel, _ = PANELS[figure]
    curves = dict(list(reference.load(figure).groupby(panel)))
    return lambda key, samples: reference.value_at(curves.get(key, pd.DataFrame()), samples)


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """The long table of `final_values` with train and test next to each other, for reading."""
    index = ["dataset", "n_latent", "algorithm", "samples_evaluated"]
    wide = table.pivot(index=index, columns="split", values=["ours", "paper", "difference"])
    return wide.reorder_levels([1, 0], axis=1)[
        [(s, v) for s in ("train", "test") for v in ("ours", "paper", "difference")]
    ]


def against_independent_gaussian(records: list[Record]) -> pd.DataFrame:
    """The last bound of every run on a Gaussian likelihood beside the best independent Gaussian per pixel [nats]."""
    rows = []
    for record in records:
        for split, baseline in record.facts.get("independent_gaussian", {}).items():
            last = record.curve[record.curve["split"] == split].iloc[-1]
            rows.append({
                "dataset": record.config.dataset,
                "algorithm": record.config.algorithm,
                "n_latent": record.config.n_latent,
                "split": split,
                "bound": last["bound"],
                "independent Gaussian": baseline,
                "difference": last["bound"] - baseline,
            })  # fmt: skip
    return pd.DataFrame(
        rows, columns=["dataset", "algorithm", "n_latent", "split", "bound", "independent Gaussian", "difference"]
    )


def chosen_stepsizes(records: list[Record]) -> pd.DataFrame:
    """Per run: the bound on train [nats] after the first iterations with each stepsize, and the stepsize to choose.

    The paper chose by "performance on the training set in the first few iterations". Here: the largest stepsize whose
    bound is not below the best by more than the best's standard error over datapoints.
    """
    rows = []
    for record in records:
        on_train = record.curve[record.curve["split"] == "train"].iloc[-1]
        rows.append([*(getattr(record.config, name) for name in RUN), record.config.learning_rate])
        rows[-1] += [on_train["bound"], on_train["bound_se"]]
    table = pd.DataFrame(rows, columns=[*RUN, "stepsize", "bound", "se"])
    wide = table.pivot(index=RUN, columns="stepsize", values="bound")
    best = table.loc[table.groupby(RUN)["bound"].idxmax()].set_index(RUN)
    is_as_good = wide.ge(best["bound"] - best["se"], axis=0)
    return wide.assign(se=best["se"], chosen=is_as_good.apply(lambda row: row.index[row].max(), axis=1))


def latent_use(records: list[Record]) -> pd.DataFrame:
    """KL(q(z_j|x) || p(z_j)) per latent dimension j, the most used first, mean over the test set [nats]."""
    kls = {record.config.n_latent: sorted(record.facts["kl_per_dimension"], reverse=True) for record in records}
    rows = [(n_latent, rank, kl) for n_latent, kl_ in sorted(kls.items()) for rank, kl in enumerate(kl_, start=1)]
    return pd.DataFrame(rows, columns=["n_latent", "rank", "kl"])


def active_units(use: pd.DataFrame) -> pd.DataFrame:
    """How many latent dimensions carry more than ACTIVE nats, per model, and the KL of all and of the others."""
    is_active = use["kl"] > ACTIVE
    groups = use.assign(active=is_active, unused=use["kl"].where(~is_active, 0)).groupby("n_latent")
    return groups.agg(active=("active", "sum"), kl=("kl", "sum"), kl_of_inactive=("unused", "sum"))


def full_vb(last: pd.DataFrame) -> pd.DataFrame:
    """Full VB beside MAP per number of latent variables and N: the bound without the weights' KL, and its gap.

    `last` has the last mark of every run; for full VB the weights are sampled. All in nats.
    """
    values = last.assign(value=last["bound"].where(last["algorithm"] == "aevb", last.get("bound_sampled")))
    table = values.pivot(index=["n_latent", "n_train", "algorithm"], columns="split", values="value")
    table["gap"] = table["train"] - table["test"]
    return table.unstack("algorithm").rename(columns={"aevb": "MAP", "full_vb": "full VB"})


def full_vb_in_words(table: pd.DataFrame) -> str:
    """What full VB buys and costs, one line per number of latent variables and N, from the table of `full_vb`."""
    lines = []
    for (n_latent, n_train), row in table.iterrows():
        test, gap = (row[column, "full VB"] - row[column, "MAP"] for column in ("test", "gap"))
        verb = "gains" if test > 0 else "loses"
        change = "narrower" if gap < 0 else "wider"
        lines.append(
            f"Nz = {n_latent}, N = {n_train}: full VB {verb} {abs(test):.1f} nats on test; "
            f"its gap between train and test is {abs(gap):.1f} nats {change}."
        )
    return "\n".join(lines)


def marginal_likelihoods(curves: pd.DataFrame, millions: Iterable[float] = MILLIONS, scale: int = 1) -> pd.DataFrame:
    """Per curve of figure 3 and number of samples: our log p(x), the paper's, the difference [nats].

    With `scale` 5, MCEM's samples are counted as N per step: our value at 5 x stands beside the paper's at x.
    """
    keys, _ = PANELS[3]
    paper_at = _paper(3)
    rows = []
    for panel, curve in curves.groupby(keys):
        for x in millions:
            at_x = curve[curve["samples_evaluated"] == round(x * 1e6 * scale)]
            if len(at_x):
                rows.append([*panel, x, at_x["log_px"].mean(), paper_at(panel, x * 1e6)])
    table = pd.DataFrame(rows, columns=[*keys, "millions", "ours", "paper"])
    table["difference"] = table["ours"] - table["paper"]
    return table


def readings(records: list[Record], millions: float) -> pd.DataFrame:
    """log p(x) after so many samples under different stepsizes and initialisations, beside the paper's [nats]."""
    tables = [
        marginal_likelihoods(curves_of([record]), [millions]).assign(
            stepsize=record.config.learning_rate, initialisation=record.config.initialisation
        )
        for record in records
    ]
    rows = ["n_train", "algorithm", "initialisation", "stepsize"]
    return pd.concat(tables).pivot(index=rows, columns="split", values=["ours", "paper", "difference"])


def explained(readings: pd.DataFrame) -> pd.DataFrame:
    """Per curve: the lowest and highest of our readings, the paper's value [nats], and whether it lies between."""
    long = readings.stack("split").groupby(["n_train", "algorithm", "split"])
    table = long.agg(lowest=("ours", "min"), highest=("ours", "max"), paper=("paper", "first")).dropna()
    return table.assign(between=table["paper"].between(table["lowest"], table["highest"]))


def closeness(readings: pd.DataFrame) -> pd.DataFrame:
    """How far each reading is from the paper: mean and maximum absolute difference [nats] over so many curves."""
    distance = readings["difference"].stack().abs().groupby(["n_train", "initialisation", "stepsize"])
    return distance.agg(["mean", "max", "count"])


def orderings(curves: pd.DataFrame) -> pd.DataFrame:
    """The paper's orderings in figure 3, at the furthest number of samples that all three algorithms have reached."""
    rows = []
    for n_train, pairs in ORDERINGS.items():
        panel = curves[curves["n_train"] == n_train]
        if panel.empty:
            continue
        common = panel.groupby("algorithm")["samples_evaluated"].max().min()
        for split in ("train",) if n_train == 1000 else ("train", "test"):
            at_x = panel[(panel["samples_evaluated"] == common) & (panel["split"] == split)]
            value = at_x.groupby("algorithm")["log_px"].mean()
            for above, below in pairs:
                difference = value[above] - value[below]
                rows.append([n_train, split, common / 1e6, f"{above} above {below}", difference, difference > 0])
    return pd.DataFrame(rows, columns=["n_train", "split", "millions", "claim", "difference", "holds"])


def cross_check(curves: pd.DataFrame) -> pd.DataFrame:
    """At the last mark of every run: appendix D minus importance sampling over the same datapoints, in nats."""
    last = curves.groupby(["n_train", "algorithm"])["samples_evaluated"].transform("max")
    columns = ["difference", "difference_se", "acceptance", "ess_hmc", "ess_importance", "n_unreliable"]
    return curves[curves["samples_evaluated"] == last].set_index(["n_train", "algorithm", "split"])[columns]
