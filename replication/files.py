"""Writing so that a reader finds the old content or the new, never a half."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from replication.errors import RecordError


def write_atomically(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file or folder beside `target`, then rename it.

    Raises RecordError when the disk refuses; what was at `target` before is then still there.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if target.is_dir():
            retired = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(retired)
            temporary.rename(target)
            shutil.rmtree(retired)
        else:
            temporary.replace(target)
    except OSError as error:
        raise RecordError(
            f"{target} cannot be written: {error.strerror or error}. "
            "Free some space or make the folder writable, then run the same command again: it resumes."
        ) from error
    finally:
        if os.path.lexists(temporary):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
