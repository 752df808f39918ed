"""The verdict and three bounds, recomputed by a script that uses nothing of the package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from replication.paper import report
from replication.paper.readings import READINGS


@pytest.fixture(scope="module")
def recount() -> dict:
    script = Path(__file__).with_name("independent.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", READINGS)
def test_the_counts_agree(recount, name):
    # Fails if a curve is counted twice, not at all, at another evaluation point, or under another reading than stated.
    found = report.make_all()[name].counts
    assert recount["counts"][name] == pytest.approx({word: found[word] for word in recount["counts"][name]}, abs=1e-5)
    assert sum(recount["counts"][name][word] for word in ("within", "above", "below", "too short", "not run")) == 48


def test_the_bounds_of_shipped_weights_agree(recount):
    # Fails if a record shows another bound than its weights have: another likelihood, KL, split or scale.
    if not recount["bounds"]:
        pytest.skip("the data are not on this machine")
    for model in recount["bounds"]:
        noise = model["sd"] * (1 + 1 / 4) ** 0.5  # one draw of eps in the record, four here
        assert abs(model["bound"] - model["recorded"]) < 4.5 * noise, model
