"""The networks in numpy, which the explorer shows, are those that were trained."""

import numpy as np
import pytest
import tensorflow as tf

from replication.config import RunConfig
from replication.model import estimators, latent, networks
from replication.model.trained import TrainedModel


@pytest.mark.parametrize("units", ["tanh", "softplus"])
@pytest.mark.parametrize("dataset", ["digits", "frey_face"])
def test_numpy_computes_what_tensorflow_computes(dataset, units):
    # Fails if a layer, a sigmoid, the likelihood or the KL is another one, for Bernoulli and for Gaussian pixels.
    config = RunConfig(dataset=dataset, algorithm="aevb", n_latent=3, n_hidden=20, samples_total=1)
    params = networks.init_params(config.replace(initialisation="fan_in", hidden_units=units), tf.constant(0, tf.int64))
    model = TrainedModel(networks.to_arrays(params))
    rng = np.random.default_rng(0)
    x = rng.random((5, np.prod(config.facts.image_shape)))
    x, z, eps = (array.astype(np.float32) for array in (x, rng.normal(size=(5, 3)), rng.normal(size=(50, 3))))
    assert model.n_latent == 3
    np.testing.assert_allclose(model.encode(x)[0], latent.encoder_mean(params, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.decode(z), latent.decoder_mean(params, z), rtol=1e-4, atol=1e-5)
    for one in x:
        expected = float(estimators.sgvb_b(params, one[None], eps[:, None]).elbo[0])
        assert model.bound(one, eps) == pytest.approx(expected, rel=1e-4)
