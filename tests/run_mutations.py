"""`make test-mutations`: put each fault of mutations.py into a copy of the tree and run the test files that are for it.

Prints which test saw it, and how many were tried, killed, survived. Fails if the list is stale, if the tests fail
without a fault, if one survives that has no reason in the list, or if more than 5 % survive. Arguments are words of
names: `python tests/run_mutations.py Adagrad` tries those alone. Without MNIST the faults in its split survive.
"""

import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from mutations import FAULTS, ROOT, Fault, stale, test_files

N_SIDE_BY_SIDE = 2
MAX_SURVIVING = 0.05
TIMEOUT_S = 900
TESTS = "not (drift or faults or cluster or benchmark or environment or overrides)"  # the unit tests, slow ones too
# A process that has imported these is copied for each fault: to import them anew takes longer than most of the tests.
PRELOADED = ["tensorflow", "tensorflow_probability", "pandas", "scipy.stats", "sklearn.linear_model", "pytest"]


def run_tests(source: Path, files: list[str], fault: Fault | None = None) -> str:
    """The first failure of the test files in a copy of the tree `source` with the fault in it; empty where all pass.

    For a process of its own: nothing of the package may have been imported. Raises RuntimeError where they do not run.
    """
    import pytest

    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(source, Path(folder, "tree"))
        if fault:
            file = tree / "replication" / fault.file
            file.write_text(file.read_text().replace(fault.old, fault.new))
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)
        sys.path.insert(0, str(tree))
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.alarm(TIMEOUT_S)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            status = pytest.main(["-x", "-q", "--no-header", "--tb=line", "-m", TESTS, *files])
        signal.alarm(0)
        os.chdir(ROOT)
    lines = output.getvalue().splitlines()
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError("\n".join([f"{files} did not run with {fault}:", *lines[-40:]]))
    return next((line for line in lines if line.startswith(("FAILED", "ERROR"))), "it failed") if status else ""


def _out_of_time(*_) -> None:
    raise TimeoutError(f"A fault that takes the tests more than {TIMEOUT_S} seconds is seen.")


def copy_tree(source: Path, target: Path) -> Path:
    """Package and tests, copied, beside links to all else that is not hidden."""
    target.mkdir()
    for entry in source.iterdir():
        if entry.name in ("replication", "tests"):
            shutil.copytree(entry, target / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif not entry.name.startswith("."):
            (target / entry.name).symlink_to(entry)
    return target


def main(words: list[str]) -> None:
    """Try the faults whose names contain one of the words, or all."""
    if problems := [problem for fault in FAULTS if (problem := stale(fault))]:
        raise SystemExit("\n".join(problems))
    from replication import ENVIRONMENT  # what TensorFlow reads on import, for the process that imports it for all

    os.environ.update(ENVIRONMENT)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    faults = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    files = sorted({file for fault in faults for file in test_files(fault)})
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(N_SIDE_BY_SIDE, context, max_tasks_per_child=1) as pool,
    ):
        source = copy_tree(ROOT, Path(folder, "source"))  # the tree may change meanwhile
        run = partial(run_tests, source)
        if failures := list(filter(None, pool.map(run, [[file] for file in files]))):
            raise SystemExit("Without a fault fail:\n" + "\n".join(failures))
        seen_by = {}
        for fault, failure in zip(faults, pool.map(run, map(test_files, faults), faults), strict=True):
            seen_by[fault] = failure
            print("killed  " if failure else "SURVIVED", f"{fault.name}: {failure or fault.survives}", flush=True)
    survived = [fault for fault in faults if not seen_by[fault]]
    print(f"{len(faults)} tried, {len(faults) - len(survived)} killed, {len(survived)} survived")
    for fault in faults:
        if bool(fault.survives) != (fault in survived):
            raise SystemExit(f"{fault.name}: {'the reason to survive is out of date' if fault.survives else 'why?'}")
    if len(survived) > MAX_SURVIVING * len(faults):
        raise SystemExit(f"More than {MAX_SURVIVING:.0%} survived.")


if __name__ == "__main__":
    main(sys.argv[1:])
