"""An aiohttp application on a port, as a part that starts and stops."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from service.errors import StartError

_HANDLER_TIMEOUT_S: Final = 2.0
"""How long requests in progress may go on when the listener stops."""


class Listener:
    """Serves an application from entering to leaving; an async context manager."""

    def __init__(
        self, name: str, application: web.Application, *, host: str, port: int, setting: str
    ) -> None:
        """Say what to serve where.

        Args:
            name: What it is called in errors.
            application: What to serve.
            host: Address to listen on.
            port: Port to listen on; 0 picks a free one.
            setting: The setting that would change the port, for errors.
        """
        self._name = name
        self._host = host
        self._port = port
        self._setting = setting
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=_HANDLER_TIMEOUT_S
        )
        self._site: web.TCPSite | None = None
        self.port = port

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            StartError: The address cannot be had.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartError(self._explain(error)) from error
        self._site = site
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the port and all connections; closing it again does nothing."""
        self._site = None
        if self._runner.server is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it is reached."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def stop_accepting(self) -> None:
        """Close the port; connections that are open go on."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    def _explain(self, error: OSError) -> str:
        where = f"{self._host}:{self._port}"
        if error.errno == errno.EADDRINUSE:
            return (
                f"the {self._name} cannot listen on {where}: the port is in use; stop the other "
                f"process or set {self._setting}"
            )
        return f"the {self._name} cannot listen on {where}: {error.strerror or error}"
