"""The keys of an identity provider: a JSON Web Key Set, fetched when needed and kept.

The set is fetched again when it is old, and when a token names a key that is not in it, as happens
when keys are rotated. While the endpoint is away the keys that are there go on being used. Fetches
are shared, bounded in time and size, and spaced out, so that no token, however many come, makes
more than one request in ``MIN_INTERVAL_S``. Only connections whose token needs a fetch wait for it.
Source: RFC 7517.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from yarl import URL

from alerts.clock import Clock
from service.codec import JSONError, decode
from service.gateway.token_errors import KeysUnavailableError, TokenKeyError
from service.gateway.token_keys import VerificationKey, jwk_key
from service.pools.errors import HTTPRequestError
from service.pools.http import HTTPConnectionPool
from service.pools.http_tracing import shown_url

_LOG: Final = logging.getLogger(__name__)

FETCH_TIMEOUT_S: Final = 3.0
"""Clients wait 5 s for the reply to a command."""
MIN_INTERVAL_S: Final = 10.0
"""Least time from the end of one fetch to the start of the next."""
MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100


@dataclass(slots=True)
class KeySetStats:
    """Counts since the start, which outlive a set that is replaced by another.

    Attributes:
        fetched: Fetches that brought keys.
        failed: Those that did not, by what went wrong.
    """

    fetched: int = 0
    failed: dict[str, int] = field(default_factory=dict)


class KeySet:
    """The keys behind one URL; an async context manager that asks for them when it is entered.

    Args:
        url: Where the set is.
        pool: What requests are made with.
        clock: Tells how old the set is.
        refresh_interval_s: How old the set may become, in seconds, before it is fetched again.
        stats: Where fetches are counted.
    """

    def __init__(
        self,
        url: str,
        *,
        pool: HTTPConnectionPool,
        clock: Clock,
        refresh_interval_s: float,
        stats: KeySetStats | None = None,
    ) -> None:
        self._url = url
        self._shown_url = shown_url(URL(url))
        self._pool = pool
        self._clock = clock
        self._refresh_interval_s = refresh_interval_s
        self._stats = KeySetStats() if stats is None else stats
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched_at = -math.inf
        self._next_fetch_at = -math.inf
        self._fetching: asyncio.Task[bool] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End a fetch that is going on; there are no more. Closing again does nothing."""
        self._closed = True
        fetching = self._fetching
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait((fetching,))

    @property
    def age_s(self) -> float | None:
        """Seconds since the set was fetched last; None while it never was."""
        fetched_at = self._fetched_at
        return None if fetched_at == -math.inf else self._clock.monotonic() - fetched_at

    async def keys(self, algorithm: str, key_id: str | None) -> Sequence[VerificationKey]:
        """Return the keys that may have signed a token; none when the set has no such key.

        Args:
            algorithm: Of the token.
            key_id: The ``kid`` of the token; None: it names no key.

        Raises:
            KeysUnavailableError: There may be such a key, and the endpoint did not tell.
        """
        told = False
        if self._clock.monotonic() - self._fetched_at >= self._refresh_interval_s:
            told = await self._refresh()
        found = self._matching(algorithm, key_id)
        if not found and not told:
            told = await self._refresh()
            found = self._matching(algorithm, key_id)
        if not found and not told:
            raise KeysUnavailableError(
                f"the key of the token is not known yet from {self._shown_url}"
            )
        return found

    def _matching(self, algorithm: str, key_id: str | None) -> list[VerificationKey]:
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        if key_id is None:
            return fitting if len(fitting) == 1 else []
        return [key for key in fitting if key.key_id == key_id]

    async def _refresh(self) -> bool:
        """Fetch the set, or wait for a fetch that is going on.

        Returns whether a fetch that began here succeeded: what another caller has begun may have
        been answered before the key that is looked for was published.
        """
        begun = self._begin()
        fetching = self._fetching
        if fetching is None:
            return False
        await asyncio.wait((fetching,))  # which, unlike await, leaves it to others when cancelled
        return begun and not fetching.cancelled() and fetching.result()

    def _begin(self) -> bool:
        """Begin a fetch if there is none and it is not too soon."""
        too_soon = self._clock.monotonic() < self._next_fetch_at
        if self._fetching is not None or self._closed or too_soon:
            return False
        self._fetching = asyncio.create_task(self._fetch(), name="fetch of token keys")
        return True

    async def _fetch(self) -> bool:
        try:
            keys = await self._fetched()
        except (HTTPRequestError, TokenKeyError) as error:
            kind = error.reason.value if isinstance(error, HTTPRequestError) else "answer"
            self._stats.failed[kind] = self._stats.failed.get(kind, 0) + 1
            _LOG.warning(
                "the keys of tokens could not be had, %d older ones are used: %s",
                len(self._keys),
                error,
            )
            return False
        else:
            if keys != self._keys:
                ids = ", ".join(str(key.key_id) for key in keys)
                _LOG.info("%d keys of tokens from %s: %.500s", len(keys), self._shown_url, ids)
            self._keys, self._fetched_at = keys, self._clock.monotonic()
            self._stats.fetched += 1
            return True
        finally:
            self._next_fetch_at = self._clock.monotonic() + MIN_INTERVAL_S
            self._fetching = None

    async def _fetched(self) -> tuple[VerificationKey, ...]:
        answer = await self._pool.fetch(
            "GET",
            self._url,
            headers={"Accept": "application/jwk-set+json, application/json"},
            timeout_s=FETCH_TIMEOUT_S,
            max_bytes=MAX_BYTES,
        )
        if answer.status != 200:
            raise TokenKeyError(f"GET {self._shown_url}: answered {answer.status}")
        try:
            return parse_key_set(answer.body)
        except TokenKeyError as error:
            raise TokenKeyError(f"GET {self._shown_url}: {error}") from error


def parse_key_set(body: bytes) -> tuple[VerificationKey, ...]:
    """Return the usable keys of a JSON Web Key Set, as many as ``MAX_KEYS``.

    Members that are for other purposes are passed over, as RFC 7517 section 5 asks.

    Raises:
        TokenKeyError: It is no key set, or none of its keys can be used.
    """
    try:
        document = decode(body)
    except JSONError as error:
        raise TokenKeyError(f"the answer is not JSON: {error}") from error
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise TokenKeyError('the answer is not a key set, which has a list "keys"')
    keys: list[VerificationKey] = []
    reasons: list[str] = []
    for member in members[:MAX_KEYS]:
        try:
            keys.append(jwk_key(member if isinstance(member, dict) else {}))
        except TokenKeyError as error:
            reasons.append(str(error))
    if not keys:
        first = f"; the first {reasons[0]}" if reasons else ""
        raise TokenKeyError(f"none of the {len(members)} keys can be used{first}")
    return tuple(keys)
