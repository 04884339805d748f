"""What back ends get to know of the headers that a client sends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from service.config.proxy_settings import UpstreamSettings
from service.gateway.codes import BAD_REQUEST, DisconnectError, bad_request


class HeaderSource(Protocol):
    """The headers of a request: names in any case, some perhaps more than once."""

    def getall(self, name: str, default: tuple[str, ...], /) -> list[str] | tuple[str, ...]:
        """Return every value of a header."""


class PassedOnHeaders:
    """Picks the headers that some back end is to see."""

    def __init__(self, upstreams: Iterable[UpstreamSettings]) -> None:
        """Pick what the settings of back ends name."""
        everywhere = tuple(upstreams)
        self._of_request = _names(each.http_headers for each in everywhere)
        self._emulated = _names(each.emulated_headers for each in everywhere)

    def of_request(self, source: HeaderSource) -> Mapping[str, str]:
        """Return what back ends are to know of the headers of a WebSocket request.

        Values that are not UTF-8 cannot be passed on and are left out.
        """
        found = {}
        for name in self._of_request:
            separator = "; " if name == "cookie" else ", "
            value = separator.join(source.getall(name, ()))
            if value and _is_sendable(value):
                found[name] = value
        return found

    def emulated(self, given: object) -> Mapping[str, str]:
        """Return what back ends are to know of the headers in a connect command.

        Raises:
            DisconnectError: They are not text by name (3501).
            ProtocolError: One has characters that a header cannot have (107).
        """
        if given is None:
            return {}
        if not isinstance(given, dict) or not all(isinstance(each, str) for each in given.values()):
            raise DisconnectError(BAD_REQUEST, "the headers of connect are not text by name")
        found = {}
        for name, value in given.items():
            if name.lower() in self._emulated:
                if not _is_sendable(value):
                    raise bad_request(f"the value of {name} is none for a header")
                found[name.lower()] = value
        return found


def _names(lists: Iterable[tuple[str, ...]]) -> frozenset[str]:
    return frozenset(name.lower() for names in lists for name in names)


def _is_sendable(value: str) -> bool:
    """Whether a header can have this value."""
    if any((each < " " and each != "\t") or each == "\x7f" for each in value):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
