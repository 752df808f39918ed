"""A reader of records needs no TensorFlow."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["plots", "paper", "runs.records", "runs.load_or_train", "batch"])
def test_readers_of_records_do_without_tensorflow(module):
    # Importing it costs seconds and a gigabyte, which a student who only looks has no use for.
    script = f"""
import importlib, pkgutil, sys
module = importlib.import_module("replication.{module}")
for found in pkgutil.iter_modules(getattr(module, "__path__", []), module.__name__ + "."):
    importlib.import_module(found.name)
sys.exit("tensorflow" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
