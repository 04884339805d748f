"""The processes on one Redis: who they are, and how they pass requests to each other.

Each has an entry that ends unless it is renewed, as clients have in presence, and a topic of its
own for answers. Requests to all go over one topic.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

from alerts.clock import Clock
from service.codec import JSONError, decode, encode
from service.deadline import Deadline
from service.gateway.codes import ProtocolError, internal_error
from service.gateway.peers import Method, Result
from service.gateway.redis.link import CommandError
from service.gateway.redis.router import Router
from service.gateway.redis.scripts import ENTER, LEAVE, PRESENT, Keys
from service.gateway.redis.stats import RedisStats
from service.gateway.requests import Request

_LOG: Final = logging.getLogger(__name__)

_RENEW_S: Final = 5.0
_LIFE_S: Final = 15.0
"""How long a process that was killed counts as one that may answer."""
_ANSWER_S: Final = 1.0
"""How long the others may take to answer."""
_MAX_WAITING: Final = 10_000
"""Requests of others that wait to be executed at most."""
_PARTITION: Final = 0
"""Where everything about processes is."""


class RedisPeers:
    """The other processes on a Redis; an async context manager.

    Attributes:
        name: What people call this process.
        uid: What others call it, which is good for one life of it.
        topics: What it must receive.
    """

    def __init__(
        self,
        name: str,
        router: Router,
        keys: Keys,
        *,
        publish: str,
        clock: Clock,
        stats: RedisStats,
    ) -> None:
        """Talk over a router, with the word for publishing that is used for channels."""
        self.name = name
        self.uid = uuid.uuid4().hex
        self.topics = (keys.control("all"), keys.control(self.uid))
        self._router = router
        self._keys = keys
        self._entries = (2, keys.control("clients"), keys.control("ends"))
        self._publish = publish
        self._clock = clock
        self._stats = stats
        self._methods: Mapping[str, Method] = {}
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Queue[tuple[str, Result]]] = {}
        # What acts on clients is executed in the order it came; who asks does not wait behind it.
        self._told: asyncio.Queue[Request] = asyncio.Queue(_MAX_WAITING)
        self._asked: asyncio.Queue[Request] = asyncio.Queue(_MAX_WAITING)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to answer others."""
        self._tasks = [
            asyncio.create_task(self._renew(), name="redis peers"),
            asyncio.create_task(self._work(self._told), name="redis peers that tell"),
            asyncio.create_task(self._work(self._asked), name="redis peers that ask"),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take leave of the others."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._router.post(_PARTITION, *self._entries, self.uid, script=LEAVE)

    def serve(self, methods: Mapping[str, Method]) -> None:
        """Execute these methods for others."""
        self._methods = methods

    async def tell(self, method: str, request: Request) -> None:
        """Have all others execute a request; does not wait until they have.

        Raises:
            ProtocolError: They cannot be reached (100).
        """
        await self._send(0, method, request)

    async def ask(self, method: str, request: Request) -> list[Result]:
        """Have all others execute a request and return the answers that come in time.

        Raises:
            ProtocolError: They cannot be reached (100).
        """
        try:
            reply = await self._router.call(_PARTITION, *self._entries, script=PRESENT)
        except CommandError as error:
            raise internal_error() from error
        missing = {name.decode() for name in reply[::2]} - {self.uid}
        if not missing:
            return []
        number = next(self._numbers)
        answers = self._answers[number] = asyncio.Queue()
        results: dict[str, Result] = {}
        try:
            await self._send(number, method, request)
            with suppress(TimeoutError):
                async with Deadline(self._clock, _ANSWER_S):
                    while missing:
                        uid, result = await answers.get()
                        missing.discard(uid)
                        results[uid] = result
        finally:
            del self._answers[number]
        return list(results.values())

    def received(self, message: bytes) -> None:
        """Take a message of another process, or one of ours that comes back."""
        try:
            body = decode(message)
        except JSONError:
            body = None
        if not _is_readable(body):
            self._stats.unreadable += 1
            return
        if body["from"] == self.uid:
            return
        if "result" in body:
            answers = self._answers.get(body.get("id", 0))
            if answers is not None:
                answers.put_nowait((body["from"], body["result"]))
        elif body.get("method") in self._methods and isinstance(body.get("request"), dict):
            queue = self._asked if body.get("id") else self._told
            try:
                queue.put_nowait(body)
            except asyncio.QueueFull:
                self._stats.errors["full"] += 1

    async def _send(self, number: int, method: str, request: Request) -> None:
        message = {"from": self.uid, "id": number, "method": method, "request": request}
        try:
            await self._router.call(_PARTITION, self._publish, self.topics[0], encode(message))
        except CommandError as error:
            raise internal_error() from error

    async def _work(self, queue: asyncio.Queue[Request]) -> None:
        while True:
            body = await queue.get()
            try:
                result = await self._methods[body["method"]](body["request"])
            except ProtocolError as error:
                message = "%s, which another process was asked for, failed here: %s"
                _LOG.warning(message, body["method"], error)
            except Exception:  # noqa: BLE001 - a fault of ours costs one request
                _LOG.exception("a request of another process failed")
            else:
                self._answer(body, result)

    def _answer(self, body: Request, result: Result) -> None:
        if body.get("id"):
            answer: dict[str, Any] = {"from": self.uid, "id": body["id"], "result": result}
            topic = self._keys.control(body["from"])
            self._router.post(_PARTITION, self._publish, topic, encode(answer))

    async def _renew(self) -> None:
        arguments = (*self._entries, round(_LIFE_S * 1000), self.uid, b"")
        while True:
            with suppress(CommandError):  # counted by the router, and tried again
                await self._router.call(_PARTITION, *arguments, script=ENTER)
            await self._clock.sleep(_RENEW_S)


def _is_readable(body: object) -> bool:
    """Whether a message has the form that processes give theirs, whatever they ask for."""
    return (
        isinstance(body, dict)
        and isinstance(body.get("from"), str)
        and isinstance(body.get("id", 0), int)
        and isinstance(body.get("method", ""), str)
    )
