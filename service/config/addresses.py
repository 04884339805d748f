"""What addresses mean: those of listeners, and those that checks connect to."""

from __future__ import annotations

import ipaddress
import re


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def split_address(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[address]:port``.

    Args:
        text: The address.
        default_port: The port when none is given; None: one has to be given.

    Raises:
        ValueError: It is no such address; says what would be right.
    """
    host, colon, port = text.rpartition(":")
    bracketed = text.startswith("[") and "]" in text
    if not colon or (bracketed and not host.endswith("]")) or (":" in host and not bracketed):
        host, port = text, "" if default_port is None else str(default_port)
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    fine = re.fullmatch(r"[^\s/@?#\[\]]+", host) is not None
    if not fine or not port.isdecimal() or not port.isascii() or not 1 <= int(port) <= 65535:
        form = "host:port" if default_port is None else "host or host:port"
        raise ValueError(f"{text!r} is no address; write {form}, such as example.com:443")
    return host, int(port)
