"""The batch chooses its datasets openly, and the command line prints errors without a traceback."""

import subprocess
import sys

import pytest

from replication import batch, data, paths
from replication.errors import DataError


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MNIST_MIRRORS", ("http://127.0.0.1:9/",))
    monkeypatch.setattr(data, "FREY_FACE_MIRRORS", {"frey_rawface.mat": "http://127.0.0.1:9/frey_rawface.mat"})
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.delenv("REPLICATION_DATA_DIR", raising=False)


def test_unreachable_mnist_falls_back_loudly(no_network, capsys):
    assert batch.reachable_datasets() == ["digits"]
    printed = capsys.readouterr()
    assert "MNIST CANNOT BE REACHED" in printed.out and "no connection" in printed.err


def test_damaged_mnist_does_not_fall_back(no_network, tmp_path):
    # Substituting another dataset would hide the damage.
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"half a file")
    with pytest.raises(DataError, match="truncated or altered"):
        batch.reachable_datasets()


def test_both_datasets_when_they_are_there(load_or_skip):
    load_or_skip("mnist")
    load_or_skip("frey_face")
    assert batch.reachable_datasets() == ["mnist", "frey_face"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--profile", "fast"], "Unknown profile 'fast'"),
        (["notebooks", "--only", "9"], "There is no notebook 9"),
        (["train", "--profile", "smoke", "--only", "nonsense"], "has no run nonsense. Its runs are:\n  digits-"),
    ],
)
def test_command_line_errors_are_one_message(arguments, message):
    command = [sys.executable, "-m", "replication", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and message in run.stderr and "Traceback" not in run.stderr
