"""Where channels live: the section ``gateway.broker``."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, WithJsonSchema, model_validator

from service.config.redis_address import RedisAddress, parse_redis_url
from service.config.section import Section
from service.config.types import Count, PositiveDuration, Secret, contradiction

_DEFAULT_URL: Final = "redis://127.0.0.1:6379"
_PREFIX: Final = r"^[-a-zA-Z0-9_.:]{1,64}$"


def _prefix(value: str) -> str:
    if re.fullmatch(_PREFIX, value) is None:
        raise ValueError(
            f"{value!r} is no beginning of keys; "
            "use one to 64 of the characters a-z A-Z 0-9 - _ . :"
        )
    return value


KeyPrefix = Annotated[
    str, AfterValidator(_prefix), WithJsonSchema({"type": "string", "pattern": _PREFIX})
]
"""What the names of all keys begin with."""


class RedisSettings(Section):
    """How Redis, or Valkey, is reached and used."""

    url: Secret | None = None
    """`redis://`, `rediss://`, `unix://`, `redis+sentinel://host1,host2/master` or
    `redis+cluster://host1,host2`, with user and password in front of the host; unset:
    `redis://127.0.0.1:6379`."""
    prefix: KeyPrefix = "gatewatch"
    """What keys and channels in Redis begin with; processes that belong together have the same."""
    sharded_pubsub: bool = False
    """Send over sharded pub/sub (Redis 7 or Valkey): of a cluster only the node that has a channel
    carries its messages."""
    timeout: PositiveDuration = 3.0
    """How long a command may take, waiting for a reconnection included, before the client or back
    end behind it is answered with an error."""
    ping_interval: PositiveDuration = 5.0
    """How often an idle connection is tested."""
    max_backoff: PositiveDuration = 2.0
    """Pause between attempts to reconnect at most."""
    max_queue: Count = 10_000
    """Commands that wait for Redis at most; who has more waits."""
    presence_ttl: PositiveDuration = 60.0
    """After how long clients of a process that was killed vanish from presence. Entries are
    renewed in less than half of it."""

    @property
    def address(self) -> RedisAddress:
        """What the URL says."""
        return parse_redis_url(self.url.get_secret_value() if self.url else _DEFAULT_URL)

    @model_validator(mode="after")
    def _url_is_understood(self) -> Self:
        try:
            _ = self.address
        except ValueError as error:
            raise contradiction(f"it {error}", ("url",)) from None
        return self


class BrokerSettings(Section):
    """What carries publications from those who publish to those who are subscribed."""

    type: Literal["memory", "redis"] = "memory"
    """memory: this process alone; redis: several processes behave as one (needs the extra
    `redis`)."""
    redis: RedisSettings = RedisSettings()
    """Used with `type: redis`."""
