"""Pauses of the garbage collector: what stays for good is not looked through again and again.

A full collection looks at every object there is, with the whole process at a stand. With a thousand
checks and their series that is a third of a second and more, every few seconds. Once everything is
there it is set aside: collections then look only at what came later.
"""

from __future__ import annotations

import gc
import logging
from typing import Final

from alerts.clock import Clock

_LOG: Final = logging.getLogger(__name__)


async def set_aside_what_stays(clock: Clock, after_s: float) -> None:
    """Wait until everything is there, then have collections leave alone what there is.

    Nothing is collected first, which would be one more pause: the little garbage there is at that
    moment stays.

    Args:
        clock: The time.
        after_s: When everything is there, in seconds from now.
    """
    await clock.sleep(after_s)
    gc.freeze()
    _LOG.debug("%d objects stay and are not looked through any more", gc.get_freeze_count())
