"""Errors and the frames they passed hold each other, and all that the frames have.

What is kept of an error, if only until the next, keeps the rest in a circle until a collection of
garbage finds it; those look at what is new only (``service.pauses``).
"""

from __future__ import annotations

import traceback


def let_go_of_frames(error: BaseException | None) -> None:
    """Have an error that was dealt with, and all that led to it, hold nothing of where they were.

    Args:
        error: The error; its frames have ended, but for those that go on being run. None: nothing.
    """
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            each.__traceback__ = None
            # Libraries wrap errors in others' arguments, and urllib3 in a reason.
            reason = getattr(each, "reason", None)
            waiting += (each.__cause__, each.__context__, reason, *each.args)
