"""A record names the commit of the code that made it, or says that it is unknown."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from replication import paths
from replication.runs import provenance


def commit_all(folder: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], cwd=folder, check=True)


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A repository with a file of source and one of a record, which counts as the project."""
    root = tmp_path / "clone"
    for file in ("replication/code.py", "data/runs/config.json"):
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text("1\n")
    commit_all(root)
    monkeypatch.setattr(paths, "ROOT", root)
    return root


def test_dirty_means_code(clone):
    # The run's own record under data/ made it dirty: 36 of 178 records said so of unchanged code.
    (clone / "data/runs/config.json").write_text("2\n")
    assert re.fullmatch("[0-9a-f]{12}", provenance.environment()["commit"])
    (clone / "replication/code.py").write_text("2\n")
    assert re.fullmatch("[0-9a-f]{12}-dirty", provenance.environment()["commit"])


@pytest.mark.parametrize("has_commits", [True, False])
def test_a_copy_within_another_repository_has_no_commit_of_that_one(clone, has_commits):
    # As `git archive` leaves it, or a vendored folder: the commit would be that of somebody else's code.
    shutil.rmtree(clone / ".git")
    if has_commits:
        commit_all(clone.parent)
    else:
        subprocess.run(["git", "init", "-q"], cwd=clone, check=True)
    assert provenance.environment()["commit"] == "unknown"


def test_the_repository_that_git_is_told_of_is_not_asked(clone, tmp_path, monkeypatch):
    # A hook of git, and what it starts, inherits GIT_DIR.
    own = provenance.environment()["commit"]
    other = tmp_path / "other"
    (other / "replication").mkdir(parents=True)
    (other / "replication/code.py").write_text("another project\n")
    commit_all(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(clone))
    assert provenance.environment()["commit"] == own
