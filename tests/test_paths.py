"""The folders that a user names are the same for every process; what cannot be one is said in a sentence."""

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
import small_project

from replication import paths
from replication.errors import DataError, RecordError

BOTH = {"REPLICATION_DATA_DIR": paths.data_override, "REPLICATION_CACHE_DIR": paths.cache}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository with a space and an umlaut in its name, and a home beside it; the process works elsewhere."""
    root = tmp_path / "my thesis ü"
    for folder in (root / "my data", tmp_path / "home" / "data"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return root


@pytest.mark.parametrize("variable", BOTH)
@pytest.mark.parametrize(
    ("value", "folder"),
    [
        ("my data", "my thesis ü/my data"),
        ("'my data'", "my thesis ü/my data"),
        (' "my data" ', "my thesis ü/my data"),
        ("~/data", "home/data"),
        ("../home/data", "my thesis ü/../home/data"),
    ],
)
def test_a_folder_that_is_named_is_the_same_wherever_a_process_works(root, monkeypatch, variable, value, folder):
    # Fails if jobs, which work in the repository, and notebooks, which work in a folder of it, have two of them.
    monkeypatch.setenv(variable, value)
    assert BOTH[variable]() == root.parent / folder


def test_variables_that_are_empty_are_not_set(root, monkeypatch):
    for variable in BOTH:
        monkeypatch.setenv(variable, " ")
    assert paths.data_override() is None
    assert paths.cache().is_relative_to(root.parent / "home")


@pytest.mark.parametrize("variable", BOTH)
@pytest.mark.parametrize("value", ["~nobody-of-this-name/x", "a file", "a file/below", "x" * 300])
def test_what_is_no_folder_is_said_with_the_variable(root, monkeypatch, variable, value):
    (root / "a file").touch()
    monkeypatch.setenv(variable, value)
    with pytest.raises((DataError, RecordError)) as error:
        BOTH[variable]()
    assert variable in str(error.value) and value in str(error.value)


def test_a_folder_of_data_that_is_not_there_is_not_passed_over(root, monkeypatch):
    # A download would hide a slip of the pen.
    monkeypatch.setenv("REPLICATION_DATA_DIR", "my dta")
    with pytest.raises(DataError, match=r"REPLICATION_DATA_DIR names .*/my thesis ü/my dta, which is no folder"):
        paths.data_override()


@pytest.mark.parametrize("home", [None, "/dev/null"])
def test_a_user_without_a_home_is_told_of_the_variable(root, monkeypatch, home):
    # As in a container: no HOME and no entry in passwd, or a home that is not the user's to write.
    def unknown(uid):
        raise KeyError(uid)

    for name in ("REPLICATION_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RecordError, match="Name a folder that you can write in REPLICATION_CACHE_DIR"):
        paths.cache()


def test_a_cache_that_cannot_be_written_is_said_with_the_variable():
    # In a process without root's right to write everywhere, and in a folder that every user can reach.
    script = "import os; from replication import paths; os.getuid() or os.setuid(65534); paths.cache()"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "checkpoints").mkdir(mode=0o755)
        environment = {**os.environ, "REPLICATION_CACHE_DIR": folder}
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (
        f"{folder}/checkpoints, cannot be written. Name a folder that you can write in REPLICATION_CACHE_DIR"
        in run.stderr
    )


@pytest.mark.parametrize("home", [None, "/dev/null"])
def test_where_there_is_no_home_the_cache_is_one(tmp_path, monkeypatch, home):
    # Fails if Jupyter's RuntimeError, or its PermissionError, ends every notebook of the batch.
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    monkeypatch.setenv("HOME", home or "")
    if home is None:
        monkeypatch.delenv("HOME")
    paths.ensure_home()
    assert Path.home() == paths.cache() == tmp_path / "cache"


def test_a_home_stays_where_it_is(root):
    paths.ensure_home()
    assert Path.home() == root.parent / "home"


@pytest.fixture
def clone(tmp_path) -> Path:
    """A copy of the project as one is cloned, with its packages installed."""
    tree = small_project.copy(tmp_path / "my thesis ü")
    for recorded in ("runs", "tables"):  # notebooks 3 and 9 show them, whatever the profile
        shutil.copytree(paths.DATA / recorded, tree / "data" / recorded)
    small_project.install(tree)
    return tree


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = ["make", f"PYTHON={clone / '.venv/bin/python'}", *arguments]
    # Not as a part of the `make test` that runs this: it would have its options, and print other lines.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("goal", ["reproduce", "test"])
def test_make_finds_its_programs_in_a_folder_with_a_space_and_an_umlaut(clone, goal):
    run = make(clone, "--dry-run", goal)
    assert run.returncode == 0 and not run.stderr
    assert re.search(r"^python -m .* (--jobs|-n) -?\d+", run.stdout, re.MULTILINE)


def test_make_installs_with_a_python_in_such_a_folder(clone):
    run = make(clone, "--dry-run", "VENV=other", "test")
    assert f'"{clone}/.venv/bin/python" -m venv --clear other' in run.stdout


@pytest.mark.faults
def test_the_smallest_batch_in_a_folder_with_a_space_and_an_umlaut(clone):
    run = make(clone, "reproduce", "PROFILE=smoke")
    assert run.returncode == 0, run.stdout + run.stderr
    assert {file.stem for file in (clone / "out/smoke").glob("*.ipynb")} >= {"0_method", "2_lower_bound", "8_verdict"}
    assert list((clone / "figures/smoke").glob("*.svg"))


@pytest.mark.faults
def test_a_notebook_where_the_user_has_no_home(clone, tmp_path):
    # As in a container that runs with a number for a user.
    number = ["unshare", "--user", "--map-user=12345"]
    if shutil.which("unshare") is None or subprocess.run([*number, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a user namespace")
    small_project.replace_runs(clone, "[]")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1", metadata={"tags": ["parameters"]})])
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, clone / "notebooks/2_lower_bound.ipynb")
    command = [
        *number,
        clone / ".venv/bin/python",
        "-m",
        "replication",
        "reproduce",
        "--profile",
        "smoke",
        "--jobs",
        "1",
    ]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME", "PYTHONPATH")
    }
    run = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert run.returncode == 0 and "Executed 1 notebook." in run.stdout, run.stdout + run.stderr
    del environment["REPLICATION_CACHE_DIR"]
    run = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.splitlines() == [
        "There is no folder for checkpoints, since this user has no home. Name a folder that you can write in "
        "REPLICATION_CACHE_DIR."
    ]


def test_a_folder_with_an_umlaut_is_named_as_it_is_under_an_ascii_locale(tmp_path):
    # Fails if it reads n\udcc3\udcb6, or ends in an error of encoding.
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment = {**os.environ, **ascii_only, "REPLICATION_DATA_DIR": str(tmp_path / "nö")}
    run = subprocess.run([sys.executable, "-m", "replication", "data"], env=environment, capture_output=True)
    assert run.returncode == 1
    assert f"REPLICATION_DATA_DIR names {tmp_path / 'nö'}, which is no folder" in run.stderr.decode("utf-8")
