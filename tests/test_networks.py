"""Encoder and decoder are the distributions of appendix C; scipy and numpy are the oracles."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from replication import draws
from replication.config import RunConfig
from replication.model import networks


def params_of(dataset: str, initialisation: str = "fan_in", n_latent: int = 3) -> networks.Params:
    config = RunConfig(
        dataset=dataset,
        algorithm="aevb",
        n_latent=n_latent,
        n_hidden=50,
        samples_total=1,
        initialisation=initialisation,
    )
    return networks.init_params(config, tf.constant(1, tf.int64))


def numpy_layer(layer: networks.Dense, x: np.ndarray) -> np.ndarray:
    return x @ layer.w.numpy().astype(float) + layer.b.numpy()


def test_encoder_is_a_diagonal_gaussian():
    # Fails if sigma were read as a variance, or a layer were left out.
    encoder = params_of("digits", "paper_variance").encoder
    x = np.random.default_rng(0).random((5, 64), np.float32)
    q = networks.encode(encoder, x)
    h = np.tanh(numpy_layer(encoder.hidden, x))
    np.testing.assert_allclose(q.mean(), numpy_layer(encoder.mean, h), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(q.stddev(), np.exp(numpy_layer(encoder.log_var, h) / 2), rtol=1e-4)


@pytest.mark.parametrize("dataset", ["digits", "frey_face"])
def test_softplus_units_are_those_of_encoder_and_decoder_and_of_their_stored_weights(dataset):
    # Against numpy: log(1 + exp) in both hidden layers, at the same start as with tanh, also when read from arrays.
    # Fails if one of the two kept tanh, if the start were drawn anew, or if stored weights forgot their units.
    settings = {"algorithm": "wake_sleep", "n_latent": 3, "n_hidden": 50, "samples_total": 1}
    seed = tf.constant(1, tf.int64)
    tanh, params = (
        networks.init_params(RunConfig(dataset=dataset, hidden_units=units, **settings), seed)
        for units in ("tanh", "softplus")
    )
    for one, other in zip(tf.nest.flatten(tanh), tf.nest.flatten(params), strict=True):
        np.testing.assert_array_equal(one, other)
    rng = np.random.default_rng(0)
    x, z = rng.random((5, params.encoder.hidden.w.shape[0]), np.float32), np.float32(rng.normal(size=(5, 3)))
    for encoder, decoder in (params, networks.from_arrays(networks.to_arrays(params))):
        h = np.log1p(np.exp(numpy_layer(encoder.hidden, x)))
        mean = numpy_layer(encoder.mean, h)
        np.testing.assert_allclose(networks.encode(encoder, x).mean(), mean, rtol=1e-4, atol=1e-5)
        h = np.log1p(np.exp(numpy_layer(decoder.hidden, z)))
        mean = scipy.special.expit(numpy_layer(decoder[1], h))
        np.testing.assert_allclose(networks.decode(decoder, z).mean(), mean, rtol=1e-4)


def test_bernoulli_likelihood_takes_grey_values():
    # log p = x log y + (1 - x) log(1 - y) also between 0 and 1, as the paper's MNIST needs.
    decoder = params_of("digits").decoder
    z, x = np.float32([[0.3, -1.0, 2.0]]), np.random.default_rng(0).random((1, 64), np.float32)
    y = scipy.special.expit(numpy_layer(decoder.logits, np.tanh(numpy_layer(decoder.hidden, z))))
    oracle = np.sum(scipy.special.xlogy(x, y) + scipy.special.xlog1py(1 - x, -y))
    assert float(networks.decode(decoder, z).log_prob(x)[0]) == pytest.approx(oracle, rel=1e-5)


def test_gaussian_likelihood_has_a_sigmoid_mean():
    decoder = params_of("frey_face").decoder
    z, x = np.float32([[0.3, -1.0, 2.0]]), np.random.default_rng(0).random((1, 560), np.float32)
    h = np.tanh(numpy_layer(decoder.hidden, z))
    mean, stddev = scipy.special.expit(numpy_layer(decoder.mean, h)), np.exp(numpy_layer(decoder.log_var, h) / 2)
    oracle = scipy.stats.norm.logpdf(x, mean, stddev).sum()
    assert float(networks.decode(decoder, z).log_prob(x)[0]) == pytest.approx(oracle, rel=1e-5)


def test_shared_variance_is_one_number_per_image():
    config = RunConfig(
        dataset="frey_face", algorithm="aevb", n_latent=3, n_hidden=9, samples_total=1, pixel_variance="shared"
    )
    decoder = networks.init_params(config, tf.constant(1, tf.int64)).decoder
    z, x = np.float32([[0.3, -1.0, 2.0], [1.0, 1.0, 1.0]]), np.random.default_rng(0).random((2, 560), np.float32)
    h = np.tanh(numpy_layer(decoder.hidden, z))
    mean, stddev = scipy.special.expit(numpy_layer(decoder.mean, h)), np.exp(numpy_layer(decoder.log_var, h) / 2)
    assert stddev.shape == (2, 1)
    p_x_given_z = networks.decode(decoder, z)
    np.testing.assert_allclose(p_x_given_z.log_prob(x), scipy.stats.norm.logpdf(x, mean, stddev).sum(1), rtol=1e-5)
    assert networks.sample_x(p_x_given_z, draws.stream(0, 0, "dream_x")).shape == (2, 560)


def test_log_joint_adds_the_prior():
    decoder = params_of("digits").decoder
    z, x = np.float32([[0.3, -1.0, 2.0]]), np.random.default_rng(0).random((1, 64), np.float32)
    oracle = float(networks.decode(decoder, z).log_prob(x)[0]) + scipy.stats.norm.logpdf(z).sum()
    assert float(networks.log_joint(decoder, x, z)[0]) == pytest.approx(oracle, rel=1e-5)


@pytest.mark.parametrize("dataset", ["digits", "frey_face"])
def test_a_z_that_all_datapoints_share_gives_what_each_would(dataset):
    # The matrix product is another sum of the same numbers.
    decoder = params_of(dataset).decoder
    rng = np.random.default_rng(0)
    x, z = rng.random((7, len(decoder[1].b)), np.float32), rng.normal(size=(2, 5, 1, 3)).astype(np.float32)
    together = networks.log_joint(decoder, x, tf.constant(z))
    each = networks.log_joint(decoder, x, tf.constant(np.repeat(z, 7, axis=2)))
    assert together.shape == (2, 5, 7)
    np.testing.assert_allclose(together, each, rtol=1e-5)


@pytest.mark.parametrize("dataset", ["digits", "frey_face"])
def test_dreams_have_the_likelihoods_moments(dataset):
    # Thresholded or averaged dreams would have the mean but no variance of p(x|z).
    decoder, n = params_of(dataset).decoder, 4000
    p = networks.decode(decoder, tf.repeat(tf.constant([[0.3, -1.0, 2.0]]), n, axis=0))
    x = networks.sample_x(p, draws.stream(0, 0, "dream_x")).numpy()
    mean, variance = p.mean()[0].numpy(), p.variance()[0].numpy()
    z_scores = (x.mean(axis=0) - mean) / np.sqrt(variance / n)
    assert np.abs(z_scores).max() < 5
    assert np.mean(x.var(axis=0) / variance) == pytest.approx(1, abs=0.02)
    if dataset == "digits":
        assert set(np.unique(x)) == {0.0, 1.0}


@pytest.mark.parametrize(("initialisation", "stddev"), [("paper_sd", 0.01), ("paper_variance", 0.1)])
def test_paper_initialisations_draw_everything_alike(initialisation, stddev):
    leaves = np.concatenate([leaf.numpy().ravel() for leaf in tf.nest.flatten(params_of("digits", initialisation))])
    n = len(leaves)
    assert leaves.std() == pytest.approx(stddev, abs=4 * stddev / np.sqrt(2 * n))
    assert abs(leaves.mean()) < 4 * stddev / np.sqrt(n)


def test_authors_initialisation_scales_with_fan_in_and_zeroes_some():
    params = params_of("frey_face", "fan_in")
    assert params.encoder.hidden.w.numpy().std() == pytest.approx(560**-0.5, rel=0.03)
    assert params.decoder.mean.w.numpy().std() == pytest.approx(50**-0.5, rel=0.03)
    assert params.encoder.hidden.b.numpy().std() == pytest.approx(0.01, rel=0.5)
    zeros = [*params.encoder.log_var, params.decoder.mean.b, params.decoder.log_var.b]
    assert all(np.all(leaf.numpy() == 0) for leaf in zeros)


def test_no_two_layers_share_their_numbers():
    # They would if the seed of a layer did not depend on its place.
    encoder = params_of("digits", "paper_sd").encoder
    assert not np.allclose(encoder.mean.w, encoder.log_var.w)


def config_of(algorithm: str, **settings) -> RunConfig:
    by_algorithm = {"mcem": {"metric": "log_px", "batch_size": 1500}}.get(algorithm, {})
    settings = {"dataset": "digits", "n_latent": 3, "n_hidden": 50, "samples_total": 1, **by_algorithm, **settings}
    return RunConfig(algorithm=algorithm, **settings)


ENCODER_WEIGHTS = {"encoder.hidden.w", "encoder.mean.w", "encoder.log_var.w"}
WITH_PRIOR = {
    ("aevb", "matrices"): {*ENCODER_WEIGHTS, "decoder.hidden.w", "decoder.logits.w"},
    ("aevb", "authors"): {
        *ENCODER_WEIGHTS, "encoder.hidden.b", "encoder.mean.b", "encoder.log_var.b", "decoder.hidden.w",
        "decoder.logits.w",
    },
    ("wake_sleep", "authors"): {*ENCODER_WEIGHTS, "decoder.logits.w"},
    ("mcem", "authors"): {*ENCODER_WEIGHTS, "decoder.logits.w"},
}  # fmt: skip


@pytest.mark.parametrize(("algorithm", "prior_on"), list(WITH_PRIOR))
def test_the_weight_prior_is_on_the_parameters_that_its_source_names(algorithm, prior_on):
    # Its gradient is -weight_prior * w where there is a prior and 0 elsewhere. Fails if a bias gets one that has none.
    params = params_of("digits", "paper_variance")
    config = config_of(algorithm, prior_on=prior_on, weight_prior=2.0)
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prior = networks.log_weight_prior(config, params)
    gradient = networks.to_arrays(tape.gradient(log_prior, params, unconnected_gradients="zero"))
    for name, w in networks.to_arrays(params).items():
        expected = -2 * w if name in WITH_PRIOR[algorithm, prior_on] else np.zeros_like(w)
        np.testing.assert_allclose(gradient[name], expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("dataset", ["digits", "frey_face"])
@pytest.mark.parametrize("algorithm", ["aevb", "wake_sleep"])
def test_the_start_near_zero_has_the_zeros_of_its_source(dataset, algorithm):
    # The authors' code of April 2014. Fails if another layer starts at zero, or a start is ten times as wide.
    config = config_of(algorithm, dataset=dataset, initialisation="near_zero")
    zeros = {"encoder.log_var.w", "encoder.log_var.b", "decoder.log_var.b"}
    if algorithm == "aevb":
        zeros |= {"decoder.logits.b", "decoder.mean.b"}
    for name, value in networks.to_arrays(networks.init_params(config, tf.constant(1, tf.int64))).items():
        if name in zeros:
            assert not value.any(), name
        else:
            sd_of_sd = 0.01 / (2 * value.size) ** 0.5
            assert abs(np.sqrt(np.mean(value.astype(float) ** 2)) - 0.01) < 4.5 * sd_of_sd, name


@pytest.mark.parametrize("hidden", ["tanh", "softplus"])
def test_a_common_z_has_the_density_that_it_has_for_each_datapoint(hidden):
    # Fails if the matrix product that serves all datapoints is that of another hidden layer.
    decoder = params_of("digits").decoder
    decoder = decoder._replace(hidden=networks.HIDDEN_LAYERS[hidden](*decoder.hidden))
    x, z = np.random.default_rng(0).random((4, 64), np.float32), np.float32([[0.3, -1.0, 2.0]])
    own = networks.log_joint(decoder, x, np.repeat(z, 4, axis=0))
    np.testing.assert_allclose(networks.log_joint(decoder, x, z), own, rtol=1e-5)
