"""Shared by all tests: checkpoints go to a folder of the test's own, and tiny runs on the embedded digits."""

import pytest

from replication import data
from replication.config import RunConfig
from replication.errors import UnreachableError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def tiny() -> RunConfig:
    return RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, samples_total=4000, learning_rate=0.05)


@pytest.fixture
def load_or_skip():
    """Load a dataset, or skip the test where it cannot be had."""

    def load(name: str) -> data.Dataset:
        try:
            return data.load(name)
        except UnreachableError as error:
            pytest.skip(str(error).splitlines()[0])

    return load
