"""Writing so that a reader finds the old content or the new, never a half, even when the writer is killed."""

import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from replication import paths
from replication.errors import RecordError

# What numpy and JSON raise for a file that is not what was written.
DAMAGED = (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


def sha256(content: bytes) -> str:
    """The hash by which a file is known to be what was written."""
    return hashlib.sha256(content).hexdigest()


def read_committed(file: Path) -> bytes:
    """The content of a committed file; raises RecordError where it is missing or cannot be read."""
    content = _read(file)
    if content is None:
        raise RecordError(f"{file} is missing. Restore it from version control.")
    return content


def read_verified(file: Path, expected: str) -> bytes:
    """The content of a committed file; raises RecordError unless its SHA-256 is the expected one."""
    content = read_committed(file)
    if sha256(content) != expected:
        raise RecordError(f"{file} is not the file that was committed. Restore it from version control.")
    return content


def write_atomically(target: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file in the folder of `target`, then rename it.

    Raises RecordError when the disk refuses; what was at `target` before is then still there.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with explained(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            temporary.replace(target)
        finally:
            if os.path.lexists(temporary):
                temporary.unlink()


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of all who write `target`; waits, and says so, while another process holds it.

    The lock is a hidden file in the folder of `target`. It ends with its process.
    """
    file = target.with_name(f".{target.name}.lock")
    with explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"Another process writes {target}: waiting until it ends.", file=sys.stderr)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Hash(NamedTuple):
    """Where an index states the hash of a file, and how it is computed."""

    key: str
    of: Callable[[bytes], str] = sha256


@dataclass(frozen=True)
class Bundle:
    """Files that belong together, in a folder of their own: a JSON file, the index, states the hash of each other.

    New files wait in the folder under a hidden name with their hash until the index is replaced. That one rename
    replaces all of them at once; afterwards they take their final names. A reader takes the files whose hashes fit the
    index, by either name, so it needs neither a lock nor the right to write. Writers hold `locked(folder)`.
    """

    folder: Path
    index: str
    hashes: Mapping[str, Hash]

    def write(self, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Replace all files, and the index by `facts` and their hashes; raises RecordError when the disk refuses."""
        digests = {self.hashes[name].key: self.hashes[name].of(content) for name, content in files.items()}
        facts = {**facts, **digests}
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                self._waiting(name, facts).write_bytes(content)
        text = json.dumps(facts, indent=2) + "\n"
        write_atomically(self.folder / self.index, lambda file: file.write_text(text, encoding="utf-8"))
        with explained(self.folder):
            self._tidy(facts, files)

    def _tidy(self, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Give the files their final names; remove files of the former content and what killed writers left."""
        for name in self.hashes:
            if name in files:
                self._waiting(name, facts).replace(self.folder / name)
            else:
                (self.folder / name).unlink(missing_ok=True)
        for name in (self.index, *self.hashes):
            for left in self.folder.glob(f".{name}.*"):
                left.unlink()

    def read(self, *names: str) -> tuple[dict, list[bytes]] | None:
        """The index and the named files as one writer left them; None where there is no index.

        Raises RecordError, which names the file, when one is missing or is not what was written.
        """
        seen = None
        while (text := _read(self.folder / self.index)) is not None:
            facts = self._parse(text)
            files = {name: self._file(name, facts) for name in names}
            missing = [name for name, content in files.items() if content is None]
            if not missing:
                return facts, [content for content in files.values() if content is not None]
            if text == seen:  # no writer came between the index and the files
                raise RecordError(self._problem(missing[0]))
            seen = text
        return None

    def _parse(self, text: bytes) -> dict:
        try:
            facts = json.loads(text)
        except ValueError as error:
            raise RecordError(f"{self.folder / self.index} is damaged ({error}). {self.cure}") from error
        if not isinstance(facts, dict):
            raise RecordError(f"{self.folder / self.index} is damaged (no JSON object). {self.cure}")
        return facts

    def _waiting(self, name: str, facts: Mapping[str, Any]) -> Path:
        return self.folder / f".{name}.{facts[self.hashes[name].key][:16]}"

    def _file(self, name: str, facts: Mapping[str, Any]) -> bytes | None:
        """The file that fits the index. The waiting name comes first: when it is gone, the final one is there."""
        key, of = self.hashes[name]
        if not isinstance(facts.get(key), str):
            return None
        for file in (self._waiting(name, facts), self.folder / name):
            content = _read(file)
            if content is not None and of(content) == facts[key]:
                return content
        return None

    def _problem(self, name: str) -> str:
        file = self.folder / name
        if not file.exists():
            return f"{file} is missing. {self.cure}"
        return f"{file} is not what was written: its hash differs from the one in {self.index}. {self.cure}"

    @property
    def cure(self) -> str:
        """What to do where the files are not what was written."""
        return "Restore it from version control. Or delete the folder, then run again."


def _read(file: Path) -> bytes | None:
    """The content, or None where there is no such file."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror or error}.") from error


@contextmanager
def explained(target: Path) -> Iterator[None]:
    """Turn what the disk refuses into a RecordError."""
    try:
        yield
    except OSError as error:
        reason, cure = str(error.strerror or error), "Free some space or make the folder writable"
        if file := paths.in_the_way(target.parent):
            reason, cure = f"{file} is no folder", "Give that file another name"
        elif isinstance(error, IsADirectoryError):
            reason, cure = "it is a folder", "Give that folder another name"
        raise RecordError(
            f"{target} cannot be written: {reason}. {cure}, then run the same command again: it resumes."
        ) from error
