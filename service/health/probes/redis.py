"""The Redis probe: the server answers PING."""

from __future__ import annotations

import ssl
from typing import Any

from redis import asyncio as client
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from yarl import URL

from alerts.clock import Clock
from service.config.service_probe_settings import RedisProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.state import ProbeResult


class RedisProbe:
    """Connects, logs in if there is a password, and sends PING."""

    def __init__(
        self, settings: RedisProbeSettings, *, clock: Clock, expectations: Expectations
    ) -> None:
        self._settings = settings
        self._clock = clock
        url = URL(settings.url)
        given = settings.password.get_secret_value() if settings.password is not None else ""
        secrets = tuple(filter(None, (given, url.password or "")))
        self._expectations = Expectations(expectations.conditions, secrets)
        self._target = str(url.with_user(None)) if url.host else settings.url

    @property
    def target(self) -> str:
        """Return the URL, without credentials."""
        return self._target

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ping once."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        server = client.Redis.from_url(self._settings.url, **self._options())
        try:
            await server.ping()
        except exceptions.AuthenticationError as error:
            run.connected = True
            raise ProbeError(Fault(f"the login is refused: {error}", "authorization")) from error
        except exceptions.TimeoutError as error:
            raise ProbeError(_unreached(error, "timeout")) from error
        except exceptions.ConnectionError as error:
            raise ProbeError(_unreached(error, "connect")) from error
        except exceptions.RedisError as error:
            run.connected = True
            raise ProbeError(
                Fault(f"the server answers with an error: {error}", "answer")
            ) from error
        finally:
            await server.aclose()
        run.connected = True
        run.body = b"PONG"
        return "PONG"

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "single_connection_client": True,
            "protocol": 2,
        }
        if settings.password is not None:
            options["password"] = settings.password.get_secret_value()
        if settings.url.startswith("rediss://"):
            tls = settings.tls
            options |= {
                "ssl_cert_reqs": ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE,
                "ssl_check_hostname": tls.verify,
                "ssl_ca_certs": str(tls.ca_file) if tls.ca_file else None,
                "ssl_certfile": str(tls.cert_file) if tls.cert_file else None,
                "ssl_keyfile": str(tls.key_file) if tls.key_file else None,
            }
        return options


def _unreached(error: Exception, error_type: str) -> Fault:
    return Fault(f"no connection: {error}", error_type, Placeholder.CONNECTED)
