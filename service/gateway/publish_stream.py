"""``POST /api/publish_stream``: many publish commands in one request, answered as they come.

The body is one publish request per line. Each is answered with one line, ``{"result": ...}`` or
``{"error": ...}``, in the same order. Lines are read no faster than answers are taken, so whoever
sends without reading comes to a halt, and nothing here grows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
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
    is_draining: Callable[[], bool],
) -> web.StreamResponse:
    """Publish what a request's lines say, and answer each.

    Args:
        request: The request, whose body nobody read yet.
        publish: Publishes one request of the method ``publish``.
        max_line_bytes: Bound of a line; a longer one is answered with an error and is the last.
        is_draining: Whether the process takes nothing any more, which ends the stream.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async for lines in _read_lines(request.content, max_line_bytes):
            answers = [await _answer(line, publish) for line in lines if not is_draining()]
            if answers:
                await response.write(b"".join(answers))
            if is_draining():
                response.force_close()
                break
    except LineTooLongError as error:
        response.force_close()
        await response.write(_line({"error": error_fields(error)}))
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


async def _read_lines(content: StreamReader, max_line_bytes: int) -> AsyncIterator[list[bytes]]:
    """Yield the lines that are complete, as they arrive; empty ones are left out.

    Raises:
        LineTooLongError: A line does not end within the bound.
    """
    rest = bytearray()
    while chunk := await content.read(_READ_BYTES):
        rest += chunk
        if b"\n" in chunk:
            *lines, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in lines:
                _check_length(line, max_line_bytes)
            yield [line for line in lines if line.strip()]
        _check_length(rest, max_line_bytes)
    if rest.strip():
        yield [bytes(rest)]


def _check_length(line: bytes | bytearray, max_line_bytes: int) -> None:
    if len(line) > max_line_bytes:
        raise LineTooLongError(max_line_bytes)
