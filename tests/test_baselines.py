"""The independent Gaussian per pixel, against scipy."""

import json
from functools import cache

import numpy as np
import pytest
import scipy.stats

from replication import data, paths
from replication.config import RunConfig
from replication.model.baselines import MIN_STDDEV, independent_gaussian


def test_it_is_a_product_of_normals():
    rng = np.random.default_rng(0)
    x_train, x = rng.random((200, 5)), rng.random((30, 5))
    oracle = scipy.stats.norm.logpdf(x, x_train.mean(axis=0), x_train.std(axis=0)).sum(axis=1)
    np.testing.assert_allclose(independent_gaussian(x_train, x), oracle)


def test_a_shared_variance_is_that_of_all_pixels_around_their_own_means():
    # Pixels of different means and spreads: fails if the mean were shared, too, or if a pixel kept its own variance.
    rng = np.random.default_rng(0)
    x_train, x = rng.normal(range(5), range(1, 6), (200, 5)), rng.normal(range(5), 1, (30, 5))
    stddev = np.sqrt(np.mean([x_train[:, j].var() for j in range(5)]))
    oracle = scipy.stats.norm.logpdf(x, x_train.mean(axis=0), stddev).sum(axis=1)
    np.testing.assert_allclose(independent_gaussian(x_train, x, "shared"), oracle)


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


def test_committed_records_name_the_independent_gaussian_of_their_own_run(load_or_skip):
    load_or_skip("frey_face")

    @cache
    def expected(preparation: str, n_train: int) -> dict[str, float]:
        faces = data.load("frey_face", preparation)
        x_train = faces.x_train[:n_train]
        splits = {"train": x_train, "test": faces.x_test}
        return {name: independent_gaussian(x_train, x).mean() for name, x in splits.items()}

    records = [json.loads(file.read_text()) for file in paths.runs("paper").glob("frey-face-*/config.json")]
    configs = [RunConfig(**record["config"]) for record in records]
    assert {config.preparation for config in configs} == {"own", "authors"}
    for config, record in zip(configs, records, strict=True):
        baseline = expected(config.preparation, config.n_train)
        assert record["independent_gaussian"] == pytest.approx(baseline, abs=0.006), config.run_id
