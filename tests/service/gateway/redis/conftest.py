"""A Redis for the tests of this directory."""

from collections.abc import Iterator

import pytest

from tests.support.redis import RedisServer


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """A server that all tests of a worker share; each uses a prefix of its own."""
    with RedisServer(keep_data=False) as running:
        yield running
