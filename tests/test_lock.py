"""pyproject.toml gives ranges, the lock pins, environment.yml installs the lock."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if re.match(r"\w", line)]


def pins_of(name: str, python: str) -> list[str]:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return [
        next(iter(pin.specifier)).version
        for pin in PINS
        if pin.name == name and (pin.marker is None or Marker(str(pin.marker)).evaluate(environment))
    ]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_lock_pins_everything_asked_for_within_its_range(python):
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        versions = pins_of(wanted.name, python)
        assert len(versions) == 1, f"{wanted.name} is pinned {len(versions)} times for Python {python}"
        assert versions[0] in wanted.specifier


def test_every_line_of_the_lock_is_exact():
    assert all([spec.operator for spec in pin.specifier] == ["=="] for pin in PINS)


def test_environment_installs_the_lock_on_an_allowed_python():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(line for line in content["dependencies"] if isinstance(line, str) and line.startswith("python="))
    assert python.removeprefix("python=") in SpecifierSet(PROJECT["requires-python"])
    pip = next(line["pip"] for line in content["dependencies"] if isinstance(line, dict))
    assert pip == ["-r requirements.lock", "-e ."]


def test_this_environment_is_allowed():
    assert ".".join(map(str, sys.version_info[:3])) in SpecifierSet(PROJECT["requires-python"])
