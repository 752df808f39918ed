"""The committed notebooks: which there are, executed for a batch, executed in place."""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_core.utils import run_sync

from replication import paths
from replication.errors import RecordError, ReplicationError
from replication.files import explained, write_atomically
from replication.paper import experiments

ANSWERS_WITHIN = 60  # seconds that a kernel may take to start, or to forget its variables


def names() -> list[str]:
    """The names of the notebooks of a batch, which leaves those that a user puts beside them alone.

    Raises RecordError where one is missing.
    """
    for name in experiments.EXPERIMENTS_OF_NOTEBOOK:
        if not (file := paths.NOTEBOOKS / f"{name}.ipynb").exists():
            raise RecordError(f"{file} is missing. Restore it from version control.")
    return list(experiments.EXPERIMENTS_OF_NOTEBOOK)


def execute(notebook: str, executed: Path, parameters: Mapping[str, str]) -> None:
    """Execute a notebook into a file, in the kernel of this process: without variables, but with its imports done.

    Modules stay as earlier notebooks left them. Raises ReplicationError when there is no such notebook; when a cell
    fails, and the file then has the outputs until there and the traceback; and when nothing was drawn, although the
    committed notebook has pictures. A kernel that dies is replaced once, then RuntimeError is raised.
    """
    import papermill  # here only: it takes a second

    (committed,) = _chosen(paths.NOTEBOOKS, notebook)
    with explained(executed):
        executed.parent.mkdir(parents=True, exist_ok=True)
    for is_last in (False, True):
        try:
            kernel = _kernel()
            kernel.reset()
            papermill.execute_notebook(
                committed, executed, parameters, km=kernel.manager, progress_bar=False, coalesce_streams=True
            )
            _require_pictures(committed, executed)
            return
        except papermill.PapermillExecutionError as error:
            raise ReplicationError(str(error).strip()) from error
        except (RuntimeError, TimeoutError):  # it died, or did not start: two that start at once may choose one port
            if _kernel.cache_info().currsize:
                _kernel().end()
                _kernel.cache_clear()
            if is_last:
                raise


class _Kernel:
    """A kernel that executes one notebook after another, since importing TensorFlow in each would take seconds.

    It ends with the process that started it. Its history is in memory: the user's is not touched.
    """

    def __init__(self) -> None:
        from jupyter_client.blocking import BlockingKernelClient
        from jupyter_client.manager import AsyncKernelManager

        # Papermill's client must be asynchronous: a blocking one waits for ever for a kernel that died in a cell.
        self.manager = AsyncKernelManager(kernel_name="python3")
        run_sync(self.manager.start_kernel)(
            cwd=str(paths.NOTEBOOKS),
            extra_arguments=["--HistoryManager.hist_file=:memory:"],
            stderr=subprocess.DEVNULL,  # TensorFlow's greetings; what Python says goes into the notebook
        )
        # A session of its own: papermill's would get the answers to this one. It asks the manager whether the kernel is
        # alive; alone, it takes a kernel that is slow to start, on a busy machine, for a dead one.
        self._client = BlockingKernelClient(parent=self.manager)
        self._client.load_connection_info(self.manager.get_connection_info())
        self._client.start_channels()
        self._is_ready = False

    def reset(self) -> None:
        """Forget all variables and the count of cells; raises RuntimeError or TimeoutError where it does not answer."""
        if not run_sync(self.manager.is_alive)():
            raise RuntimeError("The kernel has died.")
        if not self._is_ready:
            self._client.wait_for_ready(timeout=ANSWERS_WITHIN)
            self._is_ready = True
        reply = self._client.execute("get_ipython().reset()", store_history=False, reply=True, timeout=ANSWERS_WITHIN)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"The kernel could not be reset: {reply['content']}")

    def end(self) -> None:
        """Kill it."""
        self._client.stop_channels()
        run_sync(self.manager.shutdown_kernel)(now=True)


_kernel = cache(_Kernel)


def is_notebook(file: Path) -> bool:
    """Whether there is a notebook in this file: an empty or damaged one is as good as none."""
    try:
        return file.exists() and bool(_content(file))
    except RecordError:
        return False


def execute_in_place(folder: Path, only: str | None = None) -> None:
    """Execute the committed notebooks in place at paper scale, from recorded runs; `only` names one of them.

    Raises ReplicationError when there is no such notebook, when a cell fails, and when one that had pictures drew none;
    it then stays as it was, and what was executed is kept in out/failed.
    """
    for committed in _chosen(folder, only):
        executed = paths.out("failed") / committed.name
        with explained(executed):
            executed.parent.mkdir(parents=True, exist_ok=True)
        _execute_alone(committed, executed)
        _publish(executed, committed)
        executed.unlink()
        print(f"executed {committed.stem}")


def _execute_alone(file: Path, executed: Path) -> None:
    """Execute a notebook in a kernel of its own."""
    import papermill  # here only: it takes a second

    try:
        papermill.execute_notebook(
            file, executed, cwd=file.parent, progress_bar=sys.stderr.isatty(), coalesce_streams=True
        )
        _require_pictures(file, executed)
    except (papermill.PapermillExecutionError, ReplicationError, RuntimeError) as error:  # the last: its kernel died
        raise ReplicationError(f"{str(error).strip()}\n{file} is as it was; what failed is {executed}.") from error


def _publish(executed: Path, committed: Path) -> None:
    """Replace the committed notebook by the executed one, without what papermill and Jupyter add."""
    content = _content(executed)
    for key in ("papermill", "widgets"):
        content["metadata"].pop(key, None)
    for cell in content["cells"]:
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(committed, lambda draft: draft.write_text(text, encoding="utf-8"))


def _require_pictures(committed: Path, executed: Path) -> None:
    """Raise ReplicationError for a notebook that had pictures and has none."""
    had, has = (_n_pictures(_content(file)) for file in (committed, executed))
    if had and not has:
        raise ReplicationError(
            f"{committed.stem} drew no picture, where the committed notebook has {had}. Look for what chooses "
            "matplotlib's backend: %matplotlib or matplotlib.use in a cell, or a startup file of IPython."
        )


def _n_pictures(notebook: Mapping[str, Any]) -> int:
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def _content(notebook: Path) -> dict[str, Any]:
    """The JSON object of a notebook's file; raises RecordError where it holds none, as after a merge."""
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{notebook} is no notebook ({error}). Restore it from version control.") from error
    if not isinstance(content, dict) or "cells" not in content:
        raise RecordError(f"{notebook} is no notebook: it has no cells. Restore it from version control.")
    return content


def _files(folder: Path) -> list[Path]:
    """The notebooks of the batch that are in a folder; what a user puts beside them is left alone."""
    files = (folder / f"{name}.ipynb" for name in experiments.EXPERIMENTS_OF_NOTEBOOK)
    return [file for file in files if file.exists()]


def _chosen(folder: Path, only: str | None) -> list[Path]:
    """All notebooks of the batch in a folder, or the one that is named.

    Raises ReplicationError where there is none such, RecordError where one is damaged.
    """
    files = _files(folder)
    chosen = files if only is None else [file for file in folder.glob("*.ipynb") if file.stem == only]
    if not chosen:
        names = ", ".join(file.stem for file in files)
        raise ReplicationError(f"There is no notebook {only or ''} in {folder}. The notebooks are {names}.")
    for file in chosen:
        _content(file)
    return chosen
