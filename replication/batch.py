"""`make reproduce`: data, then every run and notebook through Snakemake, then a summary of what happened."""

import json
import subprocess
import sys
import time
from pathlib import Path

import papermill

from replication import data, paths
from replication.errors import ReplicationError, UnreachableError
from replication.paper import names, summary
from replication.paper.experiments import Settings, all_runs, settings
from replication.runs import parallel, records

FALLBACK = """
****************************************************************************************
  MNIST CANNOT BE REACHED: everything below uses the 8 x 8 digits that scikit-learn
  carries. No number or figure of this batch says anything about the paper.
****************************************************************************************
"""


def reachable_datasets() -> list[str]:
    """What the batch can run on: the paper's datasets where they can be had, else the embedded digits, loudly."""
    found = []
    for name in ("mnist", "frey_face"):
        try:
            data.load(name)
            found.append(name)
        except UnreachableError as error:
            print(error, file=sys.stderr)
    if "mnist" not in found:
        print(FALLBACK)
        return ["digits"]
    if "frey_face" not in found:
        print("FREY FACE CANNOT BE REACHED: its panels are left out.")
    return found


def reproduce(profile: str, reading: str, n_jobs: int) -> None:
    """Run what is missing of a profile and say what ran, how long it took and where to look.

    Raises ReplicationError when a job fails; what the others computed is kept.
    """
    start = time.monotonic()
    chosen = settings(profile, datasets=None if profile == "smoke" else reachable_datasets(), reading=reading)
    folder = paths.runs(profile)
    todo = [config for config in all_runs(chosen) if not records.is_complete(config, folder)]
    out = paths.executed(profile, reading)
    outcomes = [out / "logs" / f"{config.run_id}.json" for config in todo]
    stamps = (stamp for config in todo for stamp in (out / "extended").glob(f"{config.run_id}-*"))
    for file in (*outcomes, *stamps):
        file.unlink(missing_ok=True)
    changed = _run_snakemake(chosen, n_jobs)
    print(f"\nProfile {profile}, reading {reading}, on {', '.join(chosen.datasets)}, {time.monotonic() - start:.0f} s.")
    if not todo and not changed:
        print("Nothing to do: every run and notebook was there.")
    else:
        seconds = dict(item for file in outcomes if file.exists() for item in json.loads(file.read_text()).items())
        print(f"{parallel.in_words(seconds)} Executed {parallel.counted(len(changed), 'notebook')}.")
    _print_results(chosen)
    places = {"Figures": paths.figures(profile), "Notebooks": out, "Records": folder}
    print()
    for name, place in places.items():
        print(f"{name:9} {place.relative_to(paths.ROOT)}")


def execute_notebooks(folder: Path, only: str | None = None) -> None:
    """Execute the committed notebooks in place at paper scale, from recorded runs; `only` names one of them.

    Raises ReplicationError when there is no such notebook.
    """
    notebooks = sorted(folder.glob("[0-9]_*.ipynb"))
    if only and only not in [notebook.stem for notebook in notebooks]:
        known = ", ".join(notebook.stem for notebook in notebooks)
        raise ReplicationError(f"There is no notebook {only} in {folder}. The notebooks are {known}.")
    for notebook in (notebook for notebook in notebooks if only in (None, notebook.stem)):
        papermill.execute_notebook(notebook, notebook, cwd=folder, progress_bar=sys.stderr.isatty())
        content = json.loads(notebook.read_text())
        for key in ("papermill", "widgets"):
            content["metadata"].pop(key, None)
        for cell in content["cells"]:
            for key in ("papermill", "execution"):
                cell["metadata"].pop(key, None)
            if "outputs" in cell:
                cell["outputs"] = [output for output in cell["outputs"] if not _is_greeting(output)]
        notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        print(f"executed {notebook.relative_to(paths.ROOT)}")


def _is_greeting(output: dict) -> bool:
    """What TensorFlow's C++ prints on import, which no setting silences."""
    return output.get("name") == "stderr" and "absl::InitializeLog" in "".join(output["text"])


def _run_snakemake(chosen: Settings, n_jobs: int) -> list[Path]:
    """Run the Snakefile; returns the executed notebooks that are new."""
    out = paths.executed(chosen.profile, chosen.reading.name)
    before = _notebooks(out)
    command = [sys.executable, "-m", "snakemake", "--cores", str(n_jobs), "--quiet", "rules", "--show-failed-logs"]
    command += ["--prioritize", str((out / "2_lower_bound.ipynb").relative_to(paths.ROOT))]  # the main figure first
    command += [
        "--config",
        f"profile={chosen.profile}",
        f"datasets={','.join(chosen.datasets)}",
        f"reading={chosen.reading.name}",
    ]
    if subprocess.run(command, cwd=paths.ROOT).returncode:
        raise ReplicationError(
            f"The batch did not finish; the lines above and the logs in {out / 'logs'} say why. "
            "What finished is kept: run the same command again to do the rest."
        )
    return [notebook for notebook, written in _notebooks(out).items() if before.get(notebook) != written]


def _notebooks(folder: Path) -> dict[Path, int]:
    return {notebook: notebook.stat().st_mtime_ns for notebook in folder.glob("*.ipynb")}


def _print_results(chosen: Settings) -> None:
    """The last value of every run on test: the bound of figure 2, log p(x) of figure 3 [nats]."""
    for figure, table in summary.final_values(chosen).items():
        on_test = table[table["split"] == "test"].drop(columns="split")
        print(f"\n{names.FIGURES[figure]}, on test")
        print(on_test.to_string(index=False, float_format="{:.1f}".format, na_rep="-"))
