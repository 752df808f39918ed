"""The weights that ship with the clone: complete, small, those of the recorded run; and what a damaged file says."""

import io

import numpy as np
import pytest

from replication import data, paths
from replication.config import RunConfig
from replication.errors import RecordError
from replication.model import networks
from replication.paper import experiments
from replication.runs import evaluation, records, training

SHIPPED = experiments.decoded(experiments.settings("paper"))


@pytest.fixture
def trained(tiny, tmp_path) -> tuple[RunConfig, networks.Params]:
    training.train(tiny, tmp_path)
    return tiny, tmp_path


def test_weights_come_back_as_they_were(trained):
    # Fails if a layer is stored under another's name: the bound would be another model's.
    config, folder = trained
    params = networks.from_arrays(records.load_weights(config, folder))
    x = data.load("digits").x_test
    bound = evaluation.bound(config, params, x, np.array([0, 0], np.int64))
    on_test = records.load(config, folder).curve.query("split == 'test'").iloc[-1]
    assert bound["bound"] == pytest.approx(on_test["bound"], abs=2 * on_test["bound_se"])


def test_truncated_altered_missing_and_foreign_weights_are_refused(trained):
    config, folder = trained
    file = folder / config.run_id / records.WEIGHTS
    stored = file.read_bytes()
    file.write_bytes(stored[:-100])
    with pytest.raises(RecordError, match="truncated or damaged"):
        records.load_weights(config, folder)
    with np.load(io.BytesIO(stored)) as content:
        np.savez(file, **{name: content[name] * 2 if name.endswith(".w") else content[name] for name in content.files})
    with pytest.raises(RecordError, match="not what the run wrote"):
        records.load_weights(config, folder)
    file.unlink()
    with pytest.raises(RecordError, match=r"no weights of .*train the run again"):
        records.load_weights(config, folder)


def test_weights_of_another_configuration_are_refused(trained):
    config, folder = trained
    other = config.replace(seed=1)
    training.train(other, folder)
    (folder / config.run_id / records.WEIGHTS).write_bytes((folder / other.run_id / records.WEIGHTS).read_bytes())
    with pytest.raises(RecordError, match=f"holds the weights of {other.run_id}"):
        records.load_weights(config, folder)


@pytest.mark.parametrize("config", SHIPPED, ids=lambda config: f"{config.dataset}-{config.n_latent}")
def test_shipped_weights_give_the_recorded_bound(config, load_or_skip):
    # Fails if half precision costs more than the standard error, or if weights and curve are of different marks.
    record = records.load(config, paths.runs("paper"))
    params = networks.from_arrays(records.load_weights(config, paths.runs("paper")))
    bound = evaluation.bound(config, params, load_or_skip(config.dataset).x_test, np.array([0, 1], np.int64))
    on_test = record.curve[record.curve["split"] == "test"].iloc[-1]
    assert record.samples_evaluated >= 10_000_000
    assert bound["bound"] == pytest.approx(on_test["bound"], abs=on_test["bound_se"])


def test_shipped_weights_are_small():
    files = [paths.runs("paper") / config.run_id / records.WEIGHTS for config in SHIPPED]
    assert sum(file.stat().st_size for file in files) < 20e6
