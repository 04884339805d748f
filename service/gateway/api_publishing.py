"""The server API's methods about channels: publishing, history, presence, what there is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from opentelemetry.context import Context

from service.codec import encode
from service.config.gateway_settings import GatewaySettings
from service.gateway.broker import Broker, Message
from service.gateway.channels import MAX_CHANNEL_LENGTH, ChannelRule, ChannelRules
from service.gateway.codes import ProtocolError, bad_request, not_available
from service.gateway.history import History
from service.gateway.hub import Hub
from service.gateway.presence import presence_result, presence_stats_result
from service.gateway.protocol import MAX_ENVELOPE_BYTES, encode_data
from service.gateway.requests import Request, flag, text, value_of
from service.telemetry.sampling import MessageSampling

Result = dict[str, Any]

_MAX_CHANNELS: Final = 1024
_MAX_KEY_LENGTH: Final = 256


class PublishingMethods:
    """What back ends do in channels."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        hub: Hub,
        broker: Broker,
        rules: ChannelRules,
        sampling: MessageSampling,
    ) -> None:
        """Use the parts that the methods act on."""
        self._max_payload_bytes = settings.max_queue_size - MAX_ENVELOPE_BYTES
        self._hub = hub
        self._broker = broker
        self._past = History(broker, client_limit=settings.history_limit)
        self._rules = rules
        self._sampling = sampling

    def table(self) -> dict[str, Callable[[Request], Awaitable[Result]]]:
        """Return the methods by name."""
        return {
            "publish": self.publish,
            "broadcast": self._broadcast,
            "presence": self._presence,
            "presence_stats": self._presence_stats,
            "history": self._history,
            "history_remove": self._history_remove,
        }

    async def publish(self, request: Request) -> Result:
        """Publish to one channel."""
        channel = text(request, "channel")
        rule = self._rules.rule(channel)
        return await self._publish(self._message(request, channel, rule))

    async def _broadcast(self, request: Request) -> Result:
        channels = request.get("channels")
        if not isinstance(channels, list) or not channels:
            raise bad_request("channels is a list of at least one channel")
        if len(channels) > _MAX_CHANNELS:
            raise bad_request(f"channels has more than {_MAX_CHANNELS} entries")
        if not all(isinstance(channel, str) for channel in channels):
            raise bad_request("channels has an entry that is not a string")
        message = self._message(request, "", self._rules.default)
        responses: list[Result] = []
        for channel in channels:
            try:
                rule = self._rules.rule(channel)
                result = await self._publish(
                    message._replace(
                        channel=channel, rule=rule, parent=self._parent(rule, message.tags)
                    )
                )
            except ProtocolError as error:
                responses.append({"error": error_fields(error)})
            else:
                responses.append({"result": result})
        return {"responses": responses}

    async def _publish(self, message: Message) -> Result:
        position = await self._broker.publish(message)
        return {} if position is None else {"offset": position.offset, "epoch": position.epoch}

    def _parent(self, rule: ChannelRule, tags: Mapping[str, str] | None) -> Context | None:
        return self._sampling.for_message(rule.template, tags.get("traceparent") if tags else None)

    def _message(self, request: Request, channel: str, rule: ChannelRule) -> Message:
        """Return what is published."""
        for name in ("delta", "version"):
            if request.get(name):
                raise bad_request(f"{name} is not available")
        tags = request.get("tags")
        if tags is not None and not (
            isinstance(tags, dict) and all(isinstance(value, str) for value in tags.values())
        ):
            raise bad_request("tags is an object of strings")
        key = text(request, "idempotency_key")
        if len(key) > _MAX_KEY_LENGTH:
            raise bad_request(f"idempotency_key is longer than {_MAX_KEY_LENGTH} characters")
        return Message(
            channel,
            self._data(request, len(encode(tags)) if tags else 0),
            rule,
            source="api",
            tags=tags,
            parent=self._parent(rule, tags),
            skip_history=flag(request, "skip_history"),
            idempotency_key=key,
        )

    def _data(self, request: Request, beside: int) -> bytes:
        try:
            value = value_of(request, "data")
        except KeyError as error:
            raise bad_request("data is required") from error
        return encode_data(value, max_bytes=self._max_payload_bytes - beside)

    async def _history(self, request: Request) -> Result:
        return await self._past.of_back_end(self._kept(request), request)

    async def _history_remove(self, request: Request) -> Result:
        await self._broker.clear(self._kept(request))
        return {}

    async def _presence(self, request: Request) -> Result:
        return presence_result(await self._broker.presence(self._shown(request)))

    async def _presence_stats(self, request: Request) -> Result:
        return presence_stats_result(await self._broker.presence(self._shown(request)))

    async def own_channels(self, request: Request) -> Result:
        """Return the channels that have subscribers in this process."""
        pattern = text(request, "pattern")
        if len(pattern) > MAX_CHANNEL_LENGTH:
            raise bad_request(f"pattern is a string of at most {MAX_CHANNEL_LENGTH} characters")
        return {
            "channels": {
                channel.name: {"num_clients": len(channel)}
                for channel in self._hub
                if not pattern or fnmatchcase(channel.name, pattern)
            }
        }

    def _shown(self, request: Request) -> str:
        """Return the channel of a request, which must have presence."""
        channel = text(request, "channel")
        if not self._rules.rule(channel).options.presence:
            raise not_available()
        return channel

    def _kept(self, request: Request) -> str:
        """Return the channel of a request, which must have history."""
        channel = text(request, "channel")
        if not self._rules.rule(channel).options.history:
            raise not_available()
        return channel


def error_fields(error: ProtocolError) -> Mapping[str, Any]:
    """Return an error as the server API shows it."""
    return {"code": error.code, "message": error.message}
