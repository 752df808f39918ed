"""Processes that a test starts: on a terminal of their own, and found again by their environment."""

import fcntl
import os
import pty
import shutil
import subprocess
import termios
import threading
import time
from pathlib import Path


def programs(folder: Path, *names: str) -> Path:
    """A folder of links to these programs, for a PATH without the others."""
    folder.mkdir()
    for name in names:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def with_environment(marker: Path) -> list[str]:
    """The processes that were started with the marker in their environment and are alive."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(marker).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return found


def assert_all_end(marker: Path) -> None:
    """Wait for the processes with the marker in their environment."""
    deadline = time.monotonic() + 20
    while left := with_environment(marker):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.1)


def wait_for(file: Path, process: subprocess.Popen) -> None:
    """Wait until a process has written a file."""
    deadline = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"the process ended before it wrote {file}"
        time.sleep(0.002)


class Terminal:
    """A command in the foreground of a terminal, and what it has shown there so far."""

    def __init__(self, command: list[str], **options):
        self.keyboard, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 120))
        self.shown = ""
        self.process = subprocess.Popen(
            command,
            **{"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            **options,
        )
        os.close(theirs)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def press_ctrl_c(self) -> None:
        """The terminal interrupts every process of its foreground."""
        os.write(self.keyboard, b"\x03")

    def end(self) -> int:
        """Wait for the command; its exit status."""
        status = self.process.wait(timeout=60)
        self.reader.join(timeout=60)
        return status

    def _read(self) -> None:
        while True:
            try:
                self.shown += os.read(self.keyboard, 4096).decode(errors="replace")
            except OSError:  # the last process has left the terminal
                return
