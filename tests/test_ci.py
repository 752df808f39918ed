"""Continuous integration says which tests it skipped, and skips none that it has installed everything for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import programs

pytestmark = pytest.mark.faults  # each starts pytest itself, which takes seconds

ROOT = Path(__file__).parent.parent
SKIPPED = 'import pytest\n\ndef test_it():\n    pytest.skip("it lacks something")\n'


def test_ci_prints_which_tests_were_skipped_and_why(tmp_path):
    # In the place of make: `make test` runs one test, which is skipped, as make does; the other goals do nothing.
    (tmp_path / "test_skipped.py").write_text(SKIPPED, encoding="utf-8")
    make = programs(tmp_path / "bin", "chromium", "chromium-browser", "google-chrome") / "make"
    run_test = f"exec {sys.executable} -m pytest -c /dev/null {tmp_path / 'test_skipped.py'}"
    make.write_text(f'#!/bin/sh\n[ "$1" != test ] || {run_test}\n', encoding="utf-8")
    make.chmod(0o755)
    for name in ("chromium", "apt-get"):  # nothing is installed by a test
        if not (make.parent / name).exists():
            (make.parent / name).symlink_to("/bin/true")
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PATH": f"{make.parent}:{os.environ['PATH']}"}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    run = subprocess.run([ROOT / ".ci/run"], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("SKIPPED [1] ") == 2 and "test_skipped.py:4: it lacks something" in run.stdout


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_a_browser_test_without_a_browser_fails_in_ci_and_is_skipped_elsewhere(tmp_path, ci, outcome):
    test = "tests/test_site.py::test_formulas_are_typeset_without_a_network"
    environment = {**os.environ, "PATH": str(programs(tmp_path / "bin", "git")), "CI": ci}
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-rs", test]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert outcome in run.stdout.splitlines()[-1] and "no Chromium is installed on this machine" in run.stdout
