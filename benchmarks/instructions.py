"""Instructions a process executes, as the processor counts them.

Where a machine is shared, CPU time depends on what the neighbours do to the caches; the number of
instructions hardly does, so that small differences show. Linux only, and not on every machine.

Source: perf_event_open(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path
from typing import Final, Self

_SYSCALLS: Final = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES_BYTES: Final = 128
_HARDWARE: Final = 0
_INSTRUCTIONS: Final = 1
_INHERIT: Final = 1 << 1
_USER_ONLY: Final = 1 << 5 | 1 << 6  # neither the kernel nor a hypervisor


class Instructions:
    """Counts what all threads of a process execute, those it starts later included.

    Attributes:
        with_kernel: Whether what the kernel executes for it is counted as well.
    """

    def __init__(self, counters: list[int], *, with_kernel: bool) -> None:
        self.with_kernel = with_kernel
        self._counters = counters

    @classmethod
    def of(cls, pid: int, *, with_kernel: bool = True) -> Self | None:
        """Begin to count; None where the machine or its settings do not allow it.

        Args:
            pid: Of the process.
            with_kernel: Whether to count what the kernel executes for it, where that is allowed.
                What the kernel does depends on the neighbours: their interrupts are among it.
        """
        threads = [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]
        for chosen in (True, False) if with_kernel else (False,):
            counters: list[int] = []
            try:
                for thread in threads:
                    counters += [_open(thread, with_kernel=chosen)]
            except OSError:
                for counter in counters:
                    os.close(counter)
            else:
                return cls(counters, with_kernel=chosen)
        return None

    def read(self) -> int:
        """Return how many were executed since the count began."""
        return sum(struct.unpack("Q", os.read(counter, 8))[0] for counter in self._counters)

    def close(self) -> None:
        """Stop counting."""
        for counter in self._counters:
            os.close(counter)
        self._counters = []


def _open(thread: int, *, with_kernel: bool) -> int:
    """Return a file that tells the count of a thread.

    Raises:
        OSError: There is no such counter, or it may not be used.
    """
    attributes = bytearray(_ATTRIBUTES_BYTES)
    flags = _INHERIT if with_kernel else _INHERIT | _USER_ONLY
    head = (_HARDWARE, _ATTRIBUTES_BYTES, _INSTRUCTIONS, 0, 0, 0, flags)
    struct.pack_into("IIQQQQQ", attributes, 0, *head)
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"the system call is not known for {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * _ATTRIBUTES_BYTES).from_buffer(attributes)
    counter: int = libc.syscall(number, buffer, thread, -1, -1, 0)
    if counter < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return counter
