"""Text is read and written as UTF-8, whatever the locale: a small container has an ASCII one."""

import ast
from pathlib import Path

import pytest

from replication import paths

MODE = {"open": 0, "fdopen": 1}  # where a call has it, the name or the number of the file aside


def without_encoding(source: str) -> list[str]:
    """The calls that take the encoding of the locale; ruff sees only those whose object it knows for a path."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [f"line {call.lineno}: {ast.unparse(call)}" for call in calls if _takes_that_of_the_locale(call)]


def _takes_that_of_the_locale(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if "encoding" in given or "Image" in ast.unparse(call.func):
        return False
    if name in ("read_text", "write_text") or {given.get("text"), given.get("universal_newlines")} & {"True"}:
        return True
    place = MODE.get(name, 0) + isinstance(call.func, ast.Name)  # a method of a path has no name before its mode
    mode = given.get("mode") or (ast.unparse(call.args[place]) if len(call.args) > place else "")
    return name in MODE and "b" not in mode


@pytest.mark.parametrize(
    ("call", "is_seen"),
    [
        ("(folder / name).write_text(x)", True),
        ("file.read_text()", True),
        ("file.read_text(encoding='utf-8')", False),
        ("open(name)", True),
        ("open(name, 'rb')", False),
        ("file.open('w')", True),
        ("file.open('wb')", False),
        ("os.fdopen(1, 'w')", True),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command, encoding='utf-8')", False),
    ],
)
def test_the_calls_are_told_apart(call, is_seen):
    assert bool(without_encoding(call)) == is_seen


@pytest.mark.parametrize("file", sorted((paths.ROOT / "replication").rglob("*.py")), ids=lambda file: file.stem)
def test_a_module_reads_and_writes_utf8(file: Path):
    # Fails if README, an export, what is collected or a log becomes unreadable, or is written otherwise, elsewhere.
    assert without_encoding(file.read_text(encoding="utf-8")) == []
