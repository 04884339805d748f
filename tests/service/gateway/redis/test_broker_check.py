"""The built-in check of the broker, against a real server."""

from tests.support.app import running_app
from tests.support.gateway import OPEN
from tests.support.redis import RedisServer
from tests.support.redis_gateways import redis_settings


async def test_the_check_of_the_broker_fails_while_redis_is_away(tmp_path):
    """It fails once Redis is killed, says why, and passes again after its return."""
    with RedisServer("--requirepass", "hidden", keep_data=False) as server:
        broker = redis_settings(f"redis://:hidden@127.0.0.1:{server.port}", timeout="200ms")
        gateway = {"port": 0, **OPEN, "broker": broker}
        async with running_app(tmp_path, gateway=gateway) as app:
            there = await app.monitor.run("gateway-broker")
            server.kill()
            gone = await app.monitor.run("gateway-broker")
            server.start()
            back = await app.monitor.run("gateway-broker")
            while back.status.last is None or not back.status.last.success:
                back = await app.monitor.run("gateway-broker")

    assert there.target == f"broker redis://127.0.0.1:{server.port}"
    assert there.status.last is not None
    assert there.status.last.success
    assert gone.status.last is not None
    assert not gone.status.last.success
    assert "connection" in gone.status.last.reason
    assert "hidden" not in gone.status.last.reason


async def test_a_single_process_has_no_broker_to_check(tmp_path):
    """Without Redis there is no such check."""
    async with running_app(tmp_path) as app:
        assert "gateway-broker" not in [check.name for check in app.monitor.checks()]
