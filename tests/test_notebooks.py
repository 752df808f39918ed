"""Notebooks are short, stored with their outputs, and run end to end through papermill."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_core.utils import run_sync

from replication import paths
from replication.batch import local, notebooks
from replication.errors import RecordError, ReplicationError

WIDGET = "application/vnd.jupyter.widget-view+json"
NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("[0-9]_*.ipynb"))
PARAMETERS = 'profile = "paper"\nseed = 0\ndatasets = None\nreading = "authors"\noverrides = {}'
PLAN = "plan = notebook.make_plan(profile, seed, datasets, reading, overrides)"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_a_notebook_opens_with_question_answer_and_figure(notebook):
    # The first screen: what is asked, an answer whose numbers a cell computed, and the figure.
    question, parameters, answer, figure = notebook.cells[:4]
    assert question.cell_type == "markdown" and question.source.startswith("# ")
    assert "**Question.**" in question.source and "?" in question.source
    assert parameters.source == PARAMETERS and parameters.metadata["tags"] == ["parameters"]
    assert PLAN in answer.source.split("\n")
    said = "".join(output.get("text", "") for output in answer.outputs)
    assert re.search(r"\d", said) and said.strip().endswith("."), "sentences with numbers"
    assert any({"image/png", WIDGET} & set(output.get("data", {})) for output in figure.outputs)


def test_cells_are_short_and_introduced(notebook):
    for before, cell in zip(notebook.cells[3:], notebook.cells[4:], strict=False):
        if cell.cell_type == "code":
            assert cell.source.count("\n") < 20 or "algorithm-1" in cell.metadata["tags"]
            assert before.cell_type == "markdown", "a sentence before each code cell"


def test_no_cell_reads_the_loop_variable_of_another(notebook):
    # A loop over Frey Face's runs once took the name of MNIST's run, and a later cell showed the wrong dataset.
    left_by_a_loop: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            nodes = list(ast.walk(tree))
            written = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            written |= {node.arg for node in nodes if isinstance(node, ast.arg)}
            read = {node.id for node in nodes if isinstance(node, ast.Name)} - written
            assert not read & left_by_a_loop, cell.source
            left_by_a_loop = left_by_a_loop - written | _loop_variables(tree)


def _loop_variables(tree: ast.Module) -> set[str]:
    """The names that the loops of a cell leave behind: not those of comprehensions, nor of functions."""
    todo, loops = list(tree.body), []
    while todo:
        node = todo.pop()
        loops += [node] if isinstance(node, ast.For) else []
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return {name.id for loop in loops for name in ast.walk(loop.target) if isinstance(name, ast.Name)}


def test_parameters_are_tagged_and_published_at_paper_scale(notebook):
    assert [cell.source for cell in _parameters(notebook)] == [PARAMETERS]
    assert sum(PLAN in cell.source.split("\n") for cell in notebook.cells) == 1


def test_the_parameters_are_explained_by_a_link(notebook):
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert sum("](../docs/parameters.md)" in text for text in texts) == 1
    page = (paths.ROOT / "docs/parameters.md").read_text()
    assert all(f"| `{line.split(' = ')[0]}` |" in page for line in PARAMETERS.splitlines())


def _parameters(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]


def test_stored_outputs_are_complete_and_without_errors(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert outputs and all(output.output_type != "error" for output in outputs)
    texts = ["".join(output.get("text", "")) for output in outputs]
    assert not any("is not on this machine" in text for text in texts), "executed without the data"
    assert "papermill" not in notebook.metadata
    assert str(paths.ROOT) not in json.dumps(notebook), "an output names a folder of the machine that made it"


def papermill(notebook: str | Path, output: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "papermill", str(paths.NOTEBOOKS / notebook), str(output), *arguments]
    environment = {**os.environ, "REPLICATION_RECORDED_ONLY": "0"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_notebook_runs_by_itself_from_any_folder(tmp_path):
    # Trains what is missing: fails if the notebook needs the batch, or a working folder.
    # A short run of an unlikely seed, since the records of the batch begin at 100,000 samples.
    arguments = ("-p", "profile", "smoke", "-p", "seed", "1312", "-y", "overrides: {samples_total: 20000}")
    run = papermill("4_manifolds.ipynb", tmp_path / "out.ipynb", *arguments, folder=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert "image/png" in json.dumps([cell.get("outputs") for cell in executed.cells])
    assert (paths.figures("smoke") / "figure4_digits-seed=1312-samples_total=20000.png").exists()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a notebook of these cells, which a batch executes: `write(name, *sources)`."""
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)

    def write(name: str, *sources: str) -> None:
        notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
        notebook.cells = [*_parameters(notebook), *(nbformat.v4.new_code_cell(source) for source in sources)]
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")

    return write


def test_an_unknown_notebook_leaves_no_folder(tmp_path):
    with pytest.raises(ReplicationError, match="passwd"):
        local.execute("../../etc/passwd", {}, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_notebooks_of_a_batch_share_a_kernel_but_no_variable(write, tmp_path):
    # Fails if each imports TensorFlow anew, if one can use what another left behind, or if a failure takes the next
    # along.
    write("first", "import os\nleft = os.getpid()\nprint(left)")
    write("broken", "raise ValueError('why it failed')")
    write("second", "print('left' in globals(), 'os' in globals())", "import os\nprint(profile, os.getpid())")
    notebooks.execute("first", tmp_path / "1.ipynb", {"profile": "smoke"})
    with pytest.raises(ReplicationError, match="why it failed"):
        notebooks.execute("broken", tmp_path / "2.ipynb", {})
    notebooks.execute("second", tmp_path / "3.ipynb", {"profile": "quick"})
    assert "why it failed" in (tmp_path / "2.ipynb").read_text()
    first, second = (nbformat.read(tmp_path / f"{i}.ipynb", as_version=4).cells for i in (1, 3))
    pid = first[-1].outputs[0].text.strip()
    assert [cell.outputs[0].text for cell in second[-2:]] == ["False False\n", f"quick {pid}\n"]
    assert [cell.execution_count for cell in second] == [1, 2, 3, 4]


DRAWN = (
    "import matplotlib.pyplot as plt\nfrom replication.paper import notebook\nfrom replication.plots import palette",
    PLAN,
    "plt.plot([1, 2])\n_ = plt.title('$x^2$')",
)


@pytest.mark.parametrize("where", ["by papermill", "in place"])
def test_figures_are_there_whatever_the_user_has_told_matplotlib(write, tmp_path, monkeypatch, where):
    # A server without a screen has MPLBACKEND=Agg; a thesis' matplotlibrc wants LaTeX, which is not installed. Fails if
    # either reaches a notebook: it would end without its pictures, or with an error.
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: Agg\n")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    write("1_estimators", *DRAWN)
    executed = tmp_path / "1_estimators.ipynb"
    if where == "in place":
        monkeypatch.setattr(paths, "ROOT", tmp_path)
        notebooks.execute_in_place(tmp_path)
    else:
        executed = tmp_path / "out.ipynb"
        run = papermill("1_estimators.ipynb", executed, folder=tmp_path)
        assert run.returncode == 0, run.stderr[-2000:]
    (output,) = nbformat.read(executed, as_version=4).cells[-1].outputs
    assert "image/png" in output.data


@pytest.mark.parametrize("where", ["in a batch", "in place"])
def test_a_notebook_that_lost_its_pictures_is_an_error(write, tmp_path, monkeypatch, where):
    # Fails if nobody notices, or if the committed notebook is replaced by the one without its figure.
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write("1_estimators", *DRAWN[:2], "import matplotlib\nmatplotlib.use('agg')", *DRAWN[2:])
    committed = nbformat.read(tmp_path / "1_estimators.ipynb", as_version=4)
    committed.cells[-1].outputs = [nbformat.v4.new_output("display_data", {"image/png": "aGVsbG8="})]
    nbformat.write(committed, tmp_path / "1_estimators.ipynb")
    before = (tmp_path / "1_estimators.ipynb").read_text()
    with pytest.raises(ReplicationError, match="1_estimators drew no picture, where the committed notebook has 1"):
        if where == "in place":
            notebooks.execute_in_place(tmp_path)
        else:
            notebooks.execute("1_estimators", tmp_path / "out.ipynb", {})
    assert (tmp_path / "1_estimators.ipynb").read_text() == before


def test_training_in_a_notebook_is_seen_as_lines(write, tmp_path):
    # `papermill --log-output` prints lines, not what is drawn over or a widget. Fails if nothing is said, or if a bar
    # depends on the width of a terminal that is none.
    first = "from replication import progress\nprogress.SECONDS_BETWEEN_LINES = 0"
    write("long", first, "with progress.bar(100, 'sample') as bar:\n    bar.update(50)\n    bar.refresh()")
    notebooks.execute("long", tmp_path / "out.ipynb", {})
    outputs = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs
    said = "".join(output.text for output in outputs)
    assert said.startswith("50% of 100 samples after 00:00, 00:00 to go at ") and not {"?", "\r"} & {*said}


@pytest.mark.faults
def test_a_kernel_that_is_slow_to_start_is_waited_for():
    # Fails if a busy machine's kernels count as dead: the batch then failed at one notebook after another.
    kernel = notebooks._Kernel()
    os.kill(kernel.manager.provisioner.pid, signal.SIGSTOP)
    timer = threading.Timer(3.0, os.kill, (kernel.manager.provisioner.pid, signal.SIGCONT))
    timer.start()
    try:
        kernel.reset()
    finally:
        timer.join()
        kernel.end()


@pytest.mark.slow
def test_what_cpp_prints_is_not_in_a_notebook_and_what_a_cell_prints_is_one_output(write, tmp_path):
    # By plain papermill, as the README says. Fails if TensorFlow's greetings head the first answer, or if what a cell
    # prints with a pause falls apart: a page shows each part in a box of its own. What Python says on stderr stays.
    greet = "import os, sys\nimport replication\n_ = os.write(2, b'greeting\\n')\nprint('look here', file=sys.stderr)"
    write("first", greet, "import time\nprint('above', flush=True)\ntime.sleep(0.5)\nprint('below')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    command = ["papermill", tmp_path / "first.ipynb", tmp_path / "1.ipynb"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    greeted, _ = _outputs_of_last(tmp_path / "1.ipynb", 2)
    assert [output.text for output in greeted] == ["look here\n"]
    notebooks.execute("first", tmp_path / "2.ipynb", {})
    _, printed = _outputs_of_last(tmp_path / "2.ipynb", 2)
    assert [output.text for output in printed] == ["above\nbelow\n"]


def _outputs_of_last(file: Path, n: int) -> list[list[nbformat.NotebookNode]]:
    """The outputs of the last n cells of a notebook."""
    return [cell.outputs for cell in nbformat.read(file, as_version=4).cells[-n:]]


@pytest.mark.parametrize("when", ["within a cell", "between two notebooks"])
def test_a_kernel_that_died_is_replaced(write, tmp_path, when):
    # Fails if a batch waits for the answer of a dead kernel, or gives up a notebook for it.
    first = f"import os, pathlib\nfile = pathlib.Path('{tmp_path}/file')"
    write("deadly", first, "if not file.exists():\n    file.touch()\n    os._exit(1)")
    if when == "between two notebooks":
        write("harmless", "import os")
        notebooks.execute("harmless", tmp_path / "0.ipynb", {})
        (tmp_path / "file").touch()
        kernel = notebooks._kernel().manager
        os.kill(kernel.provisioner.pid, signal.SIGKILL)
        while run_sync(kernel.is_alive)():
            time.sleep(0.05)
    notebooks.execute("deadly", tmp_path / "1.ipynb", {})
    assert (tmp_path / "1.ipynb").exists()


@pytest.mark.slow
def test_a_notebook_that_kills_its_kernel_each_time_is_an_error(write, tmp_path):
    # Otherwise a batch without enough memory never ends.
    write("deadly", "import os\nos._exit(1)")
    with pytest.raises(RuntimeError, match="died"):
        notebooks.execute("deadly", tmp_path / "1.ipynb", {})


def test_the_cell_of_the_plan_may_be_run_again_after_the_rest(write, tmp_path):
    # A reader runs a cell twice. By then the notebook has variables of its own, which are no parameters.
    again = f"from replication.paper import notebook\n{PLAN}"
    later = 'dataset, name, asked, n_latent = "mnist", "verdict", [1, 2], 20'
    write("short", again, later, again, "print(plan.profile, plan.overrides)")
    parameters = {"profile": "smoke", "overrides": {"initialisation": "fan_in"}}
    notebooks.execute("short", tmp_path / "out.ipynb", parameters)
    assert "smoke {'initialisation': 'fan_in'}" in (tmp_path / "out.ipynb").read_text()


def test_a_failed_execution_leaves_the_notebook_as_it_was(write, tmp_path, monkeypatch):
    # Fails if an error and papermill's metadata get into a committed notebook, if what failed cannot be looked at, or
    # if what a user has put beside the committed notebooks is executed.
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write("1_estimators", "print('ü')")
    write("8_verdict", "raise ValueError('why it failed')")
    for name in ("1_of_my_own", "1_estimators-Copy1"):
        write(name, "raise ValueError('it is not ours')")
    before = (tmp_path / "8_verdict.ipynb").read_bytes()
    with pytest.raises(ReplicationError, match=r"why it failed(.|\n)*8_verdict.ipynb is as it was") as error:
        notebooks.execute_in_place(tmp_path)
    assert (tmp_path / "8_verdict.ipynb").read_bytes() == before
    kept = tmp_path / "out/failed/8_verdict.ipynb"
    assert str(kept) in str(error.value) and "why it failed" in kept.read_text(encoding="utf-8")
    assert '"ü\\n"' in (tmp_path / "1_estimators.ipynb").read_text(encoding="utf-8")


def test_a_kernel_that_dies_in_place_is_said(write, tmp_path, monkeypatch):
    # As where memory runs out. Fails with a traceback, and the notebook's name is not in it.
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write("1_estimators", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ReplicationError, match=r"died(.|\n)*1_estimators.ipynb is as it was"):
        notebooks.execute_in_place(tmp_path)


@pytest.mark.faults
def test_notebooks_are_read_and_written_as_utf8_whatever_the_locale(write, tmp_path):
    # Fails if a machine with an ASCII locale, such as a small container, cannot read what it has overwritten.
    write("1_estimators", "print('ü')")
    script = "import sys, pathlib; from replication.batch import notebooks; from replication import paths; "
    script += "paths.ROOT = pathlib.Path(sys.argv[1]); notebooks.execute_in_place(paths.ROOT)"
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    run = subprocess.run([sys.executable, "-c", script, tmp_path], env=ascii_only, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert '"ü\\n"' in (tmp_path / "1_estimators.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"<<<<<<< HEAD\n{}", b'{"cells": [', b"[]", b"\xff", b""])
@pytest.mark.parametrize("where", ["in a batch", "in place"])
def test_a_damaged_notebook_is_said(tmp_path, monkeypatch, where, content):
    # As a merge leaves it. Fails if the user reads a traceback of the reader's.
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "2_lower_bound.ipynb").write_bytes(content)
    with pytest.raises(RecordError, match=r"2_lower_bound\.ipynb is no notebook(.|\n)*Restore it from version control"):
        if where == "in place":
            notebooks.execute_in_place(tmp_path)
        else:
            notebooks.execute("2_lower_bound", tmp_path / "out.ipynb", {})


def test_an_unknown_parameter_stops_the_notebook(tmp_path):
    # papermill itself only warns of it and would go on with the default.
    with pytest.raises(ReplicationError, match="Unknown notebook parameter profil"):
        notebooks.execute("2_lower_bound", tmp_path / "out.ipynb", {"profil": "smoke"})


@pytest.mark.slow
def test_a_number_that_is_text_to_yaml_stops_the_notebook(tmp_path):
    arguments = ("-p", "profile", "smoke", "-y", "overrides: {learning_rate: 1e-4}")
    run = papermill("2_lower_bound.ipynb", tmp_path / "out.ipynb", *arguments, folder=tmp_path)
    assert run.returncode != 0 and "write 1.0e-4" in run.stderr
