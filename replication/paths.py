"""Every folder of the project, once."""

import os
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
PAPER_CURVES = DATA / "paper" / "curves.csv"
FIRST_ITERATIONS = DATA / "tables" / "first_iterations.csv"


def data_override() -> Path | None:
    """The folder that $REPLICATION_DATA_DIR names (relative to the repository), or None."""
    folder = os.environ.get("REPLICATION_DATA_DIR")
    return ROOT / folder if folder else None


def cache() -> Path:
    """The folder for checkpoints: $REPLICATION_CACHE_DIR or the user's cache folder."""
    folder = os.environ.get("REPLICATION_CACHE_DIR")
    return Path(folder) if folder else platformdirs.user_cache_path("aevb-replication")


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


def executed(profile: str, reading: str) -> Path:
    """The folder of the notebooks that the batch executed, and of its logs."""
    return out(profile) if reading == "closest" else out(profile) / reading
