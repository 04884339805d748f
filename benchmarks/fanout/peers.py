"""The smallest servers that other Python libraries make of one channel; a program of its own.

    python peers.py aiohttp|websockets|socketio

Prints the port of subscribers and the port that takes ``POST /api/batch``, as gatewatch does: all
that is done with a request is to read its JSON and send what it holds.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Send = Callable[[Any], Awaitable[None]]
"""Sends the data of a publication to all subscribers."""


async def serve_aiohttp(application: web.Application) -> tuple[int | None, Send]:
    """``send_str`` to one after the other."""
    sockets: set[web.WebSocketResponse[bool]] = set()

    async def handle(request: web.Request) -> web.WebSocketResponse[bool]:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        sockets.add(socket)
        try:
            await socket.send_str("ready")
            async for _ in socket:
                pass
        finally:
            sockets.discard(socket)
        return socket

    async def send(data: Any) -> None:
        text = json.dumps(data)
        for socket in tuple(sockets):
            await socket.send_str(text)

    application.router.add_get("/", handle)
    return None, send


async def serve_websockets(_: web.Application) -> tuple[int | None, Send]:
    """``broadcast`` to all."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    connections: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            await connection.send("ready")
            await connection.wait_closed()
        finally:
            connections.discard(connection)

    async def send(data: Any) -> None:
        broadcast(connections, json.dumps(data))

    server = await serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None)
    return next(iter(server.sockets)).getsockname()[1], send


async def serve_socketio(application: web.Application) -> tuple[int | None, Send]:
    """``emit`` to a room."""
    import socketio

    server = socketio.AsyncServer(async_mode="aiohttp", ping_interval=3600)

    async def enter(sid: str, _: dict[str, Any]) -> None:
        await server.enter_room(sid, "news")

    async def send(data: Any) -> None:
        await server.emit("message", data, room="news")

    server.on("connect", enter)
    server.attach(application)
    return None, send


async def main(name: str) -> None:
    """Serve until killed."""
    servers = {
        "aiohttp": serve_aiohttp,
        "websockets": serve_websockets,
        "socketio": serve_socketio,
    }
    application = web.Application(client_max_size=1 << 26)
    port, send = await servers[name](application)

    async def batch(request: web.Request) -> web.Response:
        body = await request.json()
        for command in body["commands"]:
            await send(command["publish"]["data"])
        return web.json_response({"replies": [{"publish": {}}] * len(body["commands"])})

    application.router.add_post("/api/batch", batch)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    api_port = runner.addresses[0][1]
    print(port or api_port, api_port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        uvloop.run(main(*sys.argv[1:]))
    else:
        asyncio.run(main(*sys.argv[1:]))
