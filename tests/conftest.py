"""Shared by all tests: checkpoints go to a folder of the test's own, and tiny runs on the embedded digits."""

import os
from functools import cache
from pathlib import Path

import browser
import pandas as pd
import pytest
import small_project

from replication import data, paths
from replication.config import RunConfig
from replication.errors import UnreachableError


def pytest_configure(config):
    """Let the user's data be found from copies of the project, too: a relative folder starts at the repository."""
    if folder := paths.data_override():
        os.environ["REPLICATION_DATA_DIR"] = str(folder.resolve())


def pytest_terminal_summary(terminalreporter):
    """Print what tests `said` by record_property: what they print themselves does not leave a parallel worker."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "said" and report.when == "call":
                terminalreporter.line(value)


@pytest.fixture(scope="session")  # of the session, so that it comes before whatever else a test needs
def chromium() -> str:
    """Chromium, or the test is skipped; in continuous integration, which installs it, the test fails."""
    if not browser.CHROMIUM:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium is installed on this machine")
    return browser.CHROMIUM


@pytest.fixture(autouse=True)
def _own_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("REPLICATION_RECORDED_ONLY", raising=False)


@pytest.fixture
def tiny() -> RunConfig:
    return RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, samples_total=4000, learning_rate=0.05)


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the project without records."""
    return small_project.copy(tmp_path / "tree")


# MNIST takes a second to unpack; no test writes into a dataset.
load_once = cache(data.load)


@pytest.fixture
def load_or_skip():
    """Load a dataset, or skip the test where it cannot be had."""

    def load(name: str) -> data.Dataset:
        try:
            return load_once(name)
        except UnreachableError as error:
            pytest.skip(str(error).splitlines()[0])

    return load


@pytest.fixture
def marginal_curves() -> pd.DataFrame:
    """Figure 3 ordered as the paper orders train, reached to 10 million by all but MCEM on much data."""
    level = {(1000, "aevb"): -115, (1000, "wake_sleep"): -130, (1000, "mcem"): -118}
    level |= {(50_000, "aevb"): -135, (50_000, "wake_sleep"): -140, (50_000, "mcem"): -160}
    return pd.DataFrame([
        {"metric": "log_px", "dataset": "mnist", "size": n, "algorithm": algorithm, "split": split, "point": x,
         "measure": "evaluated", "samples_evaluated": x, "value": value, "se": 1.0, "seed": 0,
         "run_id": f"{algorithm}-{n}"}
        for (n, algorithm), value in level.items() for split in ("train", "test")
        for x in (1_000_000, 5_000_000, 10_000_000) if not (algorithm == "mcem" and n == 50_000 and x > 5_000_000)
    ])  # fmt: skip
