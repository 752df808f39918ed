"""Full VB over the weights against a point estimate (appendix F), which the paper left to future work."""

import pandas as pd

from replication.config import ConfigError


def lost_after_best(curves: pd.DataFrame) -> pd.DataFrame:
    """The best value on test along each run of full VB or MAP, where it was, and what the run lost after it [nats]."""
    test = _without_weights(curves[curves["split"] == "test"]).sort_values("samples_evaluated")
    runs = test.groupby(["n_latent", "n_train", "algorithm"])
    best = test.loc[runs["value"].idxmax()].set_index(["n_latent", "n_train", "algorithm"]).sort_index()
    table = best[["value", "samples_evaluated"]].rename(columns={"value": "best", "samples_evaluated": "at"})
    return table.assign(lost=table["best"] - runs["value"].last())


def _without_weights(curves: pd.DataFrame) -> pd.DataFrame:
    """With a column `value`: the bound without the weights' KL; for full VB the weights are sampled."""
    return curves.assign(value=curves["value"].where(curves["algorithm"] == "aevb", curves.get("bound_sampled")))


def against_map(last: pd.DataFrame) -> pd.DataFrame:
    """Full VB and MAP per number of latent variables and N: the bound without the weights' KL, and its gap.

    `last` has the last row of every run; for full VB the weights are sampled. All in nats. Raises ConfigError where one
    of the two algorithms is missing.
    """
    if missing := {"aevb", "full_vb"} - set(last["algorithm"]):
        raise ConfigError(f"There is nothing to compare: no run of {missing.pop()} fits these settings.")
    table = _without_weights(last).pivot(index=["n_latent", "n_train", "algorithm"], columns="split", values="value")
    table["gap"] = table["train"] - table["test"]
    return table.unstack("algorithm").rename(columns={"aevb": "MAP", "full_vb": "full VB"})


def in_words(table: pd.DataFrame) -> str:
    """What full VB buys and costs, one line per number of latent variables and N, from the table of `against_map`."""
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
