"""How far the estimates of log p(x) can be trusted."""

import pandas as pd


def cross_check(curves: pd.DataFrame) -> pd.DataFrame:
    """At the last mark of every run: appendix D minus importance sampling over the same datapoints, in nats."""
    last = curves.groupby(["n_train", "algorithm"])["samples_evaluated"].transform("max")
    columns = ["difference", "difference_se", "acceptance", "ess_hmc", "ess_importance", "n_unreliable"]
    return curves[curves["samples_evaluated"] == last].set_index(["n_train", "algorithm", "split"])[columns]
