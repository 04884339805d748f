"""WebSocket frames as a server writes them: built once, written as the same bytes to everybody.

Source: RFC 6455, section 5.2. Frames of a server are not masked, so one frame serves any number
of connections. Only whole, unfragmented frames are built.
"""

from __future__ import annotations

import struct
from typing import Final

from service.pools.websocket import CloseReason

_FINAL_TEXT: Final = 0x81
_FINAL_CLOSE: Final = 0x88
_MAX_CONTROL_PAYLOAD: Final = 125


def text_frame(payload: bytes) -> bytes:
    """Return a text frame around UTF-8 bytes."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", _FINAL_TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _FINAL_TEXT, 126, size) + payload
    return struct.pack("!BBQ", _FINAL_TEXT, 127, size) + payload


def close_frame(close: CloseReason) -> bytes:
    """Return a close frame; words that do not fit a control frame are cut."""
    payload = struct.pack("!H", close.code) + close.reason.encode()[: _MAX_CONTROL_PAYLOAD - 2]
    return struct.pack("!BB", _FINAL_CLOSE, len(payload)) + payload
