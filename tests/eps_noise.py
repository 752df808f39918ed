"""The bound of recorded weights over fresh draws of eps: what a recorded bound may differ by."""

import numpy as np
import tensorflow as tf
from conftest import load_once

from replication import draws
from replication.config import RunConfig
from replication.model import networks
from replication.model.estimators import sgvb_b
from replication.runs import evaluation

N_DRAWS = 2


def bound(config: RunConfig, weights: dict[str, np.ndarray], split: str) -> tuple[float, float]:
    """The mean bound over N_DRAWS draws of eps per datapoint, and the s.d. of a mean with one draw; in nats.

    The datapoints are those of the evaluation, so that eps is the only noise.
    """
    x = evaluation.datapoints(config, load_once(config.dataset, config.preparation))[split]
    params, compiled = networks.from_arrays(weights), tf.function(sgvb_b)
    eps = [draws.normal(draws.stream(0, i, "samples"), [1, len(x), config.n_latent]) for i in range(N_DRAWS)]
    elbo = np.array([compiled(params, x, e).elbo for e in eps], np.float64)
    return elbo.mean(), np.sqrt(elbo.var(axis=0, ddof=1).mean() / len(x))
