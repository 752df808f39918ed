"""environment.yml, from which conda and Binder make an environment: what its pip installs is the lock.

`make test-environment` runs this: it asks PyPI what each package needs.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.environment

ROOT = Path(__file__).parent.parent


@pytest.fixture
def resolve(tmp_path):
    """What the lines for pip resolve to on the Python that environment.yml names, with a lock changed by `spoil`."""

    def run(spoil=lambda lock: lock) -> subprocess.CompletedProcess:
        *packages, pip = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
        python = next(line.partition("=")[2] for line in packages if line.startswith("python="))
        lines = tmp_path / "lines.txt"  # as conda writes it, in the folder of the files that it names
        lines.write_text("\n".join(pip["pip"]), encoding="utf-8")
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
        (tmp_path / "requirements.lock").write_text(spoil(lock), encoding="utf-8")
        options = ["--python-version", python, "--no-header", "--no-annotate"]
        command = [sys.executable, "-m", "uv", "pip", "compile", *options, lines.name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_the_lines_for_pip_resolve_to_the_lock(resolve):
    # Fails if the lock lacks a package, pins one outside of a range, or has none for that Python.
    resolved = resolve()
    assert resolved.returncode == 0, resolved.stderr
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = {line.partition(" ;")[0] for line in locked if line[:1].isalnum()}
    packages = set(resolved.stdout.splitlines()) - {"-e ."}
    assert len(packages) > 100 and packages <= pins


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lock: lock.replace("\nnumpy==", "\nnumpy==1.26.4  # "), "numpy"),
        (lambda lock: lock.replace("\nurllib3==", "\nurllib3==1.0  # "), "urllib3"),
    ],
    ids=["of pyproject.toml", "of a package that another one needs"],
)
def test_a_lock_outside_of_a_range_is_refused(resolve, spoil, message):
    resolved = resolve(spoil)
    assert resolved.returncode != 0 and message in resolved.stderr and "unsatisfiable" in resolved.stderr
