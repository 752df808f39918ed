"""The independent Gaussian per pixel, against scipy."""

import numpy as np
import pytest
import scipy.stats

from replication.model.baselines import MIN_STDDEV, independent_gaussian


def test_it_is_a_product_of_normals():
    rng = np.random.default_rng(0)
    x_train, x = rng.random((200, 5)), rng.random((30, 5))
    oracle = scipy.stats.norm.logpdf(x, x_train.mean(axis=0), x_train.std(axis=0)).sum(axis=1)
    np.testing.assert_allclose(independent_gaussian(x_train, x), oracle)


def test_it_is_the_best_on_train():
    # Any other mean or variance scores lower: fails if the variance were the sample variance of a subset.
    x = np.random.default_rng(0).random((200, 5))
    best = independent_gaussian(x, x).mean()
    for shift, scale in ((0.01, 1), (0, 1.05), (0, 0.95)):
        assert scipy.stats.norm.logpdf(x, x.mean(axis=0) + shift, x.std(axis=0) * scale).sum(axis=1).mean() < best


def test_constant_pixel_does_not_give_infinite_density():
    x = np.full((10, 1), 0.5)
    assert independent_gaussian(x, x)[0] == pytest.approx(scipy.stats.norm.logpdf(0, 0, MIN_STDDEV))


def test_frey_face_is_where_the_paper_s_wake_sleep_curves_end(load_or_skip):
    # The paper's curves end at 578 to 579 on train; the exact value depends on the random split.
    faces = load_or_skip("frey_face")
    assert independent_gaussian(faces.x_train, faces.x_train).mean() == pytest.approx(577, abs=2)
