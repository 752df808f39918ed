"""pyproject.toml gives ranges, the lock pins, environment.yml installs the lock, all for the same Pythons."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ["3.11", "3.12", "3.13"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = [Requirement(line) for line in LOCK.splitlines() if re.match(r"\w", line)]


def pins_of(name: str, python: str) -> list[str]:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return [
        next(iter(pin.specifier)).version
        for pin in PINS
        if pin.name == name and (pin.marker is None or Marker(str(pin.marker)).evaluate(environment))
    ]


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_pins_everything_asked_for_within_its_range(python):
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        versions = pins_of(wanted.name, python)
        assert len(versions) == 1, f"{wanted.name} is pinned {len(versions)} times for Python {python}"
        assert versions[0] in wanted.specifier


def test_every_line_of_the_lock_is_exact():
    assert all([spec.operator for spec in pin.specifier] == ["=="] for pin in PINS)


def test_environment_installs_the_lock_on_an_allowed_python():
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python = next(line for line in content["dependencies"] if isinstance(line, str) and line.startswith("python="))
    assert python.removeprefix("python=") in SpecifierSet(PROJECT["requires-python"])
    pip = next(line["pip"] for line in content["dependencies"] if isinstance(line, dict))
    assert pip == ["-r requirements.lock", "-e ."]


def test_this_environment_is_allowed():
    assert ".".join(map(str, sys.version_info[:3])) in SpecifierSet(PROJECT["requires-python"])


def test_makefile_and_continuous_integration_take_the_allowed_pythons():
    # Fails when a version is added or dropped in one place only.
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed] == PYTHONS
    assert f"PYTHONS := {' '.join(PYTHONS)}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["ci"]["strategy"]["matrix"]["python"] == PYTHONS


@pytest.mark.parametrize("python", ["no-such-python", "sh"])
def test_make_refuses_what_is_no_allowed_python_before_it_installs(python, tmp_path):
    # Fails when make falls back silently on another interpreter than the one that was named.
    command = ["make", "--dry-run", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}", "test"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode != 0 and "Choose one of 3.11 3.12 3.13" in run.stderr
    assert not (tmp_path / "venv").exists()
