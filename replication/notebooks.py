"""The committed notebooks: which there are, executed for a batch, executed in place."""

import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from replication import paths
from replication.errors import ReplicationError

ANSWERS_WITHIN = 60  # seconds that a kernel may take to start, or to forget its variables


def names() -> list[str]:
    """The names of the committed notebooks."""
    return [file.stem for file in _files(paths.NOTEBOOKS)]


def execute(notebook: str, executed: Path, parameters: Mapping[str, str]) -> None:
    """Execute a notebook into a file, in the kernel of this process: without variables, but with its imports done.

    Raises ReplicationError when a cell fails; the file then has the outputs until there and the traceback.
    """
    import papermill  # here only: it takes a second

    for is_last in (False, True):
        try:
            kernel, client = _kernel()
            if not kernel.is_alive():
                raise RuntimeError("The kernel has died.")
            client.execute("get_ipython().reset()", reply=True, timeout=ANSWERS_WITHIN)
            papermill.execute_notebook(
                paths.NOTEBOOKS / f"{notebook}.ipynb", executed, parameters, km=kernel, progress_bar=False
            )
            return
        except papermill.PapermillExecutionError as error:
            raise ReplicationError(str(error).strip()) from error
        except (RuntimeError, TimeoutError):  # it died, or did not start: two that start at once may choose one port
            _kernel.cache_clear()
            if is_last:
                raise


@cache
def _kernel() -> tuple[Any, Any]:
    """The kernel in which this process executes one notebook after another, and a client to reset it.

    A kernel for each notebook would import TensorFlow each time, which takes seconds. It ends with this process.
    """
    from jupyter_client.manager import KernelManager
    from jupyter_client.session import Session

    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(paths.NOTEBOOKS))
    # Clients of one session have one address: papermill's would get the answers to this one.
    client = kernel.client(session=Session(key=kernel.session.key))
    client.start_channels()
    client.wait_for_ready(timeout=ANSWERS_WITHIN)
    return kernel, client


def execute_in_place(folder: Path, only: str | None = None) -> None:
    """Execute the committed notebooks in place at paper scale, from recorded runs; `only` names one of them.

    Raises ReplicationError when there is no such notebook.
    """
    files = _files(folder)
    if only and only not in [file.stem for file in files]:
        known = ", ".join(file.stem for file in files)
        raise ReplicationError(f"There is no notebook {only} in {folder}. The notebooks are {known}.")
    import papermill  # here only: it takes a second

    for file in (file for file in files if only in (None, file.stem)):
        papermill.execute_notebook(file, file, cwd=folder, progress_bar=sys.stderr.isatty())
        content = json.loads(file.read_text())
        for key in ("papermill", "widgets"):
            content["metadata"].pop(key, None)
        for cell in content["cells"]:
            for key in ("papermill", "execution"):
                cell["metadata"].pop(key, None)
            if "outputs" in cell:
                cell["outputs"] = [output for output in cell["outputs"] if not _is_greeting(output)]
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        print(f"executed {file.relative_to(paths.ROOT)}")


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]_*.ipynb"))


def _is_greeting(output: dict) -> bool:
    """What TensorFlow's C++ prints on import, which no setting silences."""
    return output.get("name") == "stderr" and "absl::InitializeLog" in "".join(output["text"])
