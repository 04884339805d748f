"""The directory of a process's state: private to its user, and held by one process at a time.

Owns the directory, its lock and the modes of what is in it; not what the files mean.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from alerts.errors import Problem
from service.errors import ConfigurationError

LOCK_FILE: Final = "gatewatch.lock"
"""Stays when the process ends: whoever has it locked is what counts, not whether it is there."""

_PRIVATE_DIRECTORY: Final = 0o700
_PRIVATE_FILE: Final = 0o600


class DataDirectory:
    """Holds a data directory from entering to leaving; an async context manager.

    The system releases the lock with the process, however that ends.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    async def __aenter__(self) -> Self:
        """Create the directory if it is not there, and take it.

        Raises:
            ConfigurationError: It cannot be created or written, or another process has it.
        """
        try:
            self.path.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, _PRIVATE_FILE)
        except OSError as error:
            raise _refused(
                f"the data directory {self.path} cannot be used: {error.strerror}; let it name a "
                "directory that the user of this process may write"
            ) from error
        try:
            self._take(lock)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def private_file(self, name: str) -> Path:
        """Return the path of a file in the directory that only its user can read.

        It is created empty if it is not there, for those who would create it readable for all.
        """
        path = self.path / name
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, _PRIVATE_FILE))
        except OSError as error:
            raise _refused(f"the file {path} cannot be written: {error.strerror}") from error
        return path

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _refused(
                f"the data directory {self.path} is in use by {_holder(lock)}; stop that one, or "
                "let this one have a directory of its own"
            ) from error
        except OSError as error:
            raise _refused(
                f"the data directory {self.path} cannot be locked: {error.strerror}; let it name "
                "a directory on a file system that has locks"
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _holder(lock: int) -> str:
    """Return who has the lock; it may just have taken it, and not yet said who it is."""
    pid = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
    return f"process {pid}" if pid.isdecimal() else "another process"


def _refused(message: str) -> ConfigurationError:
    return ConfigurationError([Problem("service.data_dir", 0, 0, message)])
