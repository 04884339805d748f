"""``POST /api/publish_stream``: many publish commands in one request, answered as they come.

The body is one publish request per line. Each is answered with one line, ``{"result": ...}`` or
``{"error": ...}``, in the same order. Lines are read no faster than answers are taken, so whoever
sends without reading comes to a halt, and nothing here grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final

from aiohttp import StreamReader, web

from service.codec import JSONError, decode_exactly, encode
from service.gateway.api_publishing import error_fields
from service.gateway.codes import ProtocolError, bad_request
from service.gateway.requests import Request

Publish = Callable[[Request], Awaitable[dict[str, Any]]]

_READ_BYTES: Final = 65536


class LineTooLongError(ProtocolError):
    """A line that does not end within the bound; what follows cannot be told apart."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(107, f"bad request: a line is longer than {max_bytes} bytes")


async def answer_stream(
    request: web.Request,
    publish: Publish,
    *,
    max_line_bytes: int,
    wait_for_stop: Callable[[], Coroutine[Any, Any, None]],
) -> web.StreamResponse:
    """Publish what a request's lines say, and answer each.

    Args:
        request: The request, whose body nobody read yet.
        publish: Publishes one request of the method ``publish``.
        max_line_bytes: Bound of a line; a longer one is answered with an error and is the last.
        wait_for_stop: Returns when nothing more may be taken, which ends the stream.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    stop = asyncio.create_task(wait_for_stop())
    try:
        async for lines in _read_lines(request.content, max_line_bytes, stop):
            answers = [await _answer(line, publish) for line in lines if not stop.done()]
            await response.write(b"".join(answers))
    except LineTooLongError as error:
        response.force_close()
        await response.write(_line({"error": error_fields(error)}))
    finally:
        if stop.done():
            response.force_close()  # what comes next would not be answered
        stop.cancel()
    await response.write_eof()
    return response


async def _answer(line: bytes, publish: Publish) -> bytes:
    try:
        try:
            body = decode_exactly(line)
        except JSONError as error:
            raise bad_request(f"the line is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise bad_request("the line is not a JSON object")
        return _line({"result": await publish(body)})
    except ProtocolError as error:
        return _line({"error": error_fields(error)})


def _line(value: object) -> bytes:
    return encode(value) + b"\n"


async def _read_lines(
    content: StreamReader, max_line_bytes: int, stop: asyncio.Task[None]
) -> AsyncIterator[list[bytes]]:
    """Yield the lines that are complete, as they arrive until the stop; empty ones are left out.

    Raises:
        LineTooLongError: A line does not end within the bound.
    """
    rest = bytearray()
    while chunk := await _read(content, stop):
        rest += chunk
        if b"\n" in chunk:
            *lines, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in lines:
                _check_length(line, max_line_bytes)
            yield [line for line in lines if line.strip()]
        _check_length(rest, max_line_bytes)
    if rest.strip() and not stop.done():
        yield [bytes(rest)]


async def _read(content: StreamReader, stop: asyncio.Task[None]) -> bytes:
    """Return what comes next; nothing at the end and at the stop."""
    reading = asyncio.create_task(content.read(_READ_BYTES))
    try:
        tasks: set[asyncio.Task[Any]] = {reading, stop}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return b"" if stop.done() else await reading
    finally:
        reading.cancel()


def _check_length(line: bytes | bytearray, max_line_bytes: int) -> None:
    if len(line) > max_line_bytes:
        raise LineTooLongError(max_line_bytes)
