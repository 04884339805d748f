"""Answers to those who ask for what a channel keeps: clients within a limit, back ends without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.codec import Fragment
from service.gateway.broker import Broker
from service.gateway.codes import (
    BAD_REQUEST,
    DisconnectError,
    bad_request,
    too_many_requests,
    unrecoverable_position,
)
from service.gateway.protocol import flag_field, number_field, text_field
from service.gateway.streams import StreamItem, StreamPage, StreamQuery

Request = Mapping[str, Any]


class History:
    """Reads history for the protocol and for the server API."""

    def __init__(self, broker: Broker, *, client_limit: int) -> None:
        """Read from a broker; clients get so many publications at most."""
        self._broker = broker
        self._client_limit = client_limit

    async def of_client(self, channel: str, request: Request, *, room: int) -> dict[str, Any]:
        """Answer the command of a client.

        Args:
            channel: What is read.
            request: The command.
            room: Bytes of publications the answer may hold; the page ends before the next.

        Raises:
            ProtocolError: Not one publication fits (111), or the position belongs to another epoch
                (112).
            DisconnectError: The request breaks the protocol (3501).
        """
        query, epoch = _query(request)
        limit = self._client_limit if query.limit is None else query.limit
        capped = replace(query, limit=min(limit, self._client_limit))
        page = await self._read(channel, capped, epoch)
        fitting = _fitting(page.items, room)
        if page.items and not fitting:
            raise too_many_requests()
        return _fields(replace(page, items=fitting))

    async def of_back_end(self, channel: str, request: Request) -> dict[str, Any]:
        """Answer the call of a back end.

        Raises:
            ProtocolError: The position belongs to another epoch (112), or the request is wrong
                (107).
        """
        try:
            query, epoch = _query(request)
        except DisconnectError as error:
            raise bad_request(error.detail) from error
        return _fields(await self._read(channel, query, epoch))

    async def _read(self, channel: str, query: StreamQuery, epoch: str) -> StreamPage:
        page = await self._broker.read(channel, query)
        if epoch and epoch != page.top.epoch:
            raise unrecoverable_position()
        return page


def _fitting(items: tuple[StreamItem, ...], room: int) -> tuple[StreamItem, ...]:
    """Return as many as fit, from the first."""
    for count, item in enumerate(items):
        room -= len(item.body) + 1
        if room < 0:
            return items[:count]
    return items


def _query(request: Request) -> tuple[StreamQuery, str]:
    """Return what is asked for, and the epoch of the position; a negative limit is none."""
    limit = number_field(request, "limit", minimum=-(2**31))
    reverse = flag_field(request, "reverse")
    since = request.get("since")
    if since is None:
        return StreamQuery(None if limit < 0 else limit, None, reverse), ""
    if not isinstance(since, dict):
        raise DisconnectError(BAD_REQUEST, "since is not an object")
    after = number_field(since, "offset")
    return StreamQuery(None if limit < 0 else limit, after, reverse), text_field(since, "epoch")


def _fields(page: StreamPage) -> dict[str, Any]:
    return {
        "publications": [Fragment(item.body) for item in page.items],
        "epoch": page.top.epoch,
        "offset": page.top.offset,
    }
