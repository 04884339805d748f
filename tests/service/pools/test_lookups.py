"""Looking up names, apart from everything else that needs a thread."""

from __future__ import annotations

import socket

import pytest

from service.pools.lookups import LookupResolver, Lookups


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
)
async def test_an_address_is_its_own_answer(host, family):
    """It needs no thread, and so cannot wait for one."""
    async with Lookups() as lookups:
        lookups.close()
        found = await lookups.addresses(host, 80)

    assert [(each[0], each[4][:2]) for each in found] == [(family, (host, 80))]


@pytest.mark.parametrize("host", ["gatewatch.invalid", "a..b", "x" * 64])
async def test_a_name_that_cannot_be_looked_up_is_one_kind_of_error(host):
    """Whether it does not exist or is no name at all."""
    async with Lookups() as lookups:
        with pytest.raises(socket.gaierror):
            await lookups.addresses(host, 80)


async def test_aiohttp_gets_the_family_it_asks_for():
    """The resolver gives addresses in aiohttp's form."""
    async with Lookups() as lookups:
        resolver = LookupResolver(lookups)
        found = await resolver.resolve("localhost", 80, socket.AF_INET)
        await resolver.close()

    assert {(each["host"], each["port"], each["family"]) for each in found} == {
        ("127.0.0.1", 80, socket.AF_INET)
    }
