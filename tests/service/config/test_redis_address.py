"""URLs of Redis: what they mean, and what is refused without telling its secrets."""

import pytest

from service.config.redis_address import Arrangement, Endpoint, parse_redis_url
from service.config.settings import Settings


@pytest.mark.parametrize(
    ("url", "arrangement", "endpoints", "database"),
    [
        ("redis://host", "single", ["host:6379"], 0),
        ("redis://host:1/2", "single", ["host:1"], 2),
        ("redis://[::1]:7", "single", ["::1:7"], 0),
        ("rediss://host", "single", ["host:6379"], 0),
        ("unix:///run/redis.sock?db=3", "single", ["/run/redis.sock"], 3),
        ("redis+sentinel://a,b:5/main/1", "sentinel", ["a:26379", "b:5"], 1),
        ("rediss+cluster://a:1,b", "cluster", ["a:1", "b:6379"], 0),
    ],
)
def test_servers_and_database_are_read(url, arrangement, endpoints, database):
    """Each form has its usual port."""
    address = parse_redis_url(url)

    assert address.arrangement is Arrangement(arrangement)
    assert [str(each) for each in address.endpoints] == endpoints
    assert address.database == database
    assert address.tls is url.startswith("rediss")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:hidden@host/2", "redis://host:6379"),
        ("rediss+sentinel://:hidden@a,b:5/main", "rediss+sentinel://a:26379,b:5/main"),
        ("redis+cluster://:hidden@a:1,b", "redis+cluster://a:1,b:6379"),
        ("unix://user:hidden@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_login(url, shown):
    """What people read has servers and master, and no secret."""
    assert str(parse_redis_url(url)) == shown


def test_logins_and_files_are_read():
    """Those of the servers stand before the host, those of sentinels behind the question mark."""
    address = parse_redis_url(
        "rediss+sentinel://us%40er:p%3Aw@a/main?sentinel_username=s&sentinel_password=x%20y"
        "&ssl_ca_certs=/etc/ca.pem"
    )

    assert (address.username, address.password) == ("us@er", "p:w")
    assert (address.sentinel_username, address.sentinel_password) == ("s", "x y")
    assert (address.master, dict(address.tls_files)) == ("main", {"ssl_ca_certs": "/etc/ca.pem"})
    assert "p:w" not in repr(address)
    assert "x y" not in repr(address)


def test_a_socket_may_need_a_login():
    """It stands where a host would."""
    address = parse_redis_url("unix://user:pw@/run/redis.sock")

    assert address.endpoints == (Endpoint(path="/run/redis.sock"),)
    assert (address.username, address.password) == ("user", "pw")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is no URL of Redis; write redis://host:6379/0"),
        ("http://:hidden@host", "is no URL of Redis"),
        ("redis+pipe://:hidden@host", "is no URL of Redis"),
        ("unix+cluster:///x", "is no URL of Redis"),
        ("redis://:hidden@", "has a host that cannot be read: ''"),
        ("redis://:hidden@host:0", "has a host that cannot be read: 'host:0'"),
        ("redis://:hidden@host:port", "has a host that cannot be read"),
        ("redis://:hidden@a,b", "names several servers"),
        ("redis://:hidden@host/x", "has 'x' where the number of a database stands"),
        ("redis://:hidden@host/-1", "has '-1' where the number of a database stands"),
        ("redis+sentinel://:hidden@a", "does not name the master"),
        ("redis+cluster://:hidden@a/1", "names a database, which a cluster does not have"),
        ("redis://:hidden@host?ssl_ca_certs=x", "has files for TLS and does not use it"),
        ("redis://:hidden@host?sentinel_password=hidden", "has a login for sentinels"),
        ("redis://:hidden@host?socket_timeout=1", "has the unknown option socket_timeout"),
        ("unix://:hidden@", "is no path of a socket"),
    ],
)
def test_what_is_wrong_is_said_without_secrets(url, said):
    """The reason names the part that is wrong."""
    with pytest.raises(ValueError) as caught:
        parse_redis_url(url)

    assert str(caught.value).startswith(said)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("redis", "said"),
    [
        ({"url": "redis://:hidden@host/x"}, "it has 'x' where the number of a database stands"),
        ({"prefix": "{a}"}, "is no beginning of keys"),
        ({"timeout": "8s"}, "timeout must be shorter than gateway.pong_timeout"),
    ],
)
def test_settings_that_cannot_work_are_refused(redis, said):
    """Before anything connects."""
    with pytest.raises(ValueError, match=said):
        Settings.model_validate({"gateway": {"broker": {"type": "redis", "redis": redis}}})
