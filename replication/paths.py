"""Every folder of the project, once."""

import os
from pathlib import Path

import platformdirs

from replication.errors import DataError, RecordError, ReplicationError

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
PAPER_PATHS = DATA / "paper" / "paths.csv"
FIRST_ITERATIONS = DATA / "tables" / "first_iterations.csv"
WAKE_SLEEP_TRIED = DATA / "tables" / "wake_sleep_frey_face.csv"


def data_override() -> Path | None:
    """The user's folder of data, $REPLICATION_DATA_DIR, or None; raises DataError where it names no folder."""
    folder = _named("REPLICATION_DATA_DIR", DataError)
    if folder and not os.path.isdir(folder):  # noqa: PTH112 -- pathlib's raises for some
        raise DataError(f"REPLICATION_DATA_DIR names {folder}, which is no folder. Correct it, or unset it.")
    return folder


def cache() -> Path:
    """The folder with the one for checkpoints, which is made: $REPLICATION_CACHE_DIR or the user's cache folder.

    Raises RecordError, which names the variable, where there is no such folder to write in.
    """
    cure = "Name a folder that you can write in REPLICATION_CACHE_DIR."
    try:
        folder = _named("REPLICATION_CACHE_DIR", RecordError) or platformdirs.user_cache_path("aevb-replication")
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except RuntimeError as error:
        raise RecordError(f"There is no folder for checkpoints, since this user has no home. {cure}") from error
    except OSError as error:
        raise RecordError(f"The folder for checkpoints, {folder}, cannot be made: {error.strerror}. {cure}") from error
    if not os.access(folder / "checkpoints", os.W_OK):  # somebody else may have made it
        raise RecordError(f"The folder for checkpoints, {folder}/checkpoints, cannot be written. {cure}")
    return folder


def ensure_home() -> None:
    """Make the cache folder the home of this process and its children where the user's cannot be written.

    Jupyter needs a home. Raises RecordError as `cache` does.
    """
    folder = cache()
    try:
        is_usable = os.access(Path.home(), os.W_OK | os.X_OK)  # some have a file for a home
    except RuntimeError:  # neither HOME nor an entry in passwd, as in containers
        is_usable = False
    if not is_usable:
        os.environ["HOME"] = str(folder)


def in_the_way(folder: Path) -> Path | None:
    """What is no folder, but has the name of this one or of one above it; None where nothing has."""
    return next((path for path in (folder, *folder.parents) if os.path.lexists(path) and not path.is_dir()), None)


def refuse_what_is_in_the_way(profile: str) -> None:
    """Raise RecordError where a file has the name of a folder that the profile writes into: not only after its runs."""
    for folder in (runs(profile), tables(profile), figures(profile)):
        if file := in_the_way(folder):
            raise RecordError(f"{folder} cannot be written: {file} is no folder. Give that file another name.")


def _named(variable: str, error: type[ReplicationError]) -> Path | None:
    """The folder that a variable names, or None. A relative one starts at the repository, wherever a process works."""
    text = os.environ.get(variable, "").strip()
    if text[:1] in ("'", '"') and text.endswith(text[0]):  # from a file of variables that no shell has read
        text = text[1:-1]
    try:
        return ROOT / Path(text).expanduser() if text else None
    except RuntimeError as cause:
        raise error(f"{variable} is {text}, but there is no such home. Write the folder out in full.") from cause


def is_recorded_only() -> bool:
    """Whether nothing may be trained or computed: $REPLICATION_RECORDED_ONLY is set, to anything but 0 or false."""
    return os.environ.get("REPLICATION_RECORDED_ONLY", "").strip().lower() not in ("", "0", "false")


def runs(profile: str) -> Path:
    """The folder of a profile's records: those at paper scale are committed, the others are outputs."""
    return DATA / "runs" if profile == "paper" else out(profile) / "runs"


def tables(profile: str) -> Path:
    """The folder of a profile's computed tables, beside its records."""
    return runs(profile).parent / "tables"


def figures(profile: str) -> Path:
    """The folder of a profile's figures: those at paper scale lie at the top and are committed."""
    return ROOT / "figures" if profile == "paper" else ROOT / "figures" / profile


def out(profile: str) -> Path:
    """The folder of what a profile makes that is not committed."""
    return ROOT / "out" / profile
