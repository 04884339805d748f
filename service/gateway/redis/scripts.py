"""What is done in Redis in one step, in Lua, and the names of the keys it is done to.

A script runs alone, so the order of offsets is the order in which publications go out. It names all
of its keys, and they have one hash tag, so it runs on a cluster as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from service.gateway.redis.topology import partition_of


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script.

    Attributes:
        source: Its text.
        digest: What Redis calls it once it has seen the text.
    """

    source: str
    digest: str


def _script(source: str) -> Script:
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())


PUBLISH: Final = _script("""
-- KEYS: position, stream, result
-- ARGV: body, size, stream ms, position ms, new epoch, result ms, verb, topic, trace
if ARGV[6] ~= '0' then
  local known = redis.call('GET', KEYS[3])
  if known then
    return {1, known}
  end
end
local body, offset, epoch = ARGV[1], '', ''
if ARGV[2] ~= '0' then
  epoch = redis.call('HGET', KEYS[1], 'epoch')
  if not epoch then
    epoch = ARGV[5]
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[1], 'epoch', epoch)
  end
  offset = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'offset', 1))
  body = string.sub(body, 1, -2) .. ',"offset":' .. offset .. '}'
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], offset .. '-0', 'b', body)
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local place = offset .. ' ' .. epoch
if ARGV[6] ~= '0' then
  redis.call('SET', KEYS[3], place, 'PX', ARGV[6])
end
local sent = redis.pcall(ARGV[7], ARGV[8], 'p' .. place .. ' ' .. ARGV[9] .. '\\n' .. body)
if type(sent) == 'table' and sent.err then
  redis.call('DEL', KEYS[3])
  return sent
end
return {0, place}
""")
"""Keeps a publication, remembers the result of its key, and sends it; returns whether it was known
and its place, ``offset epoch``, which is one space for a publication that is not kept.

Sending comes last, because Redis may refuse to write, when it is full or not the master any more,
and what was sent cannot be taken back."""

READ: Final = _script("""
-- KEYS: position, stream
-- ARGV: new epoch, position ms, verb, first, last, limit
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch)
end
local left = math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[2]))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
local offset = redis.call('HGET', KEYS[1], 'offset') or '0'
local items = {}
if ARGV[3] ~= '' then
  if ARGV[6] == '' then
    items = redis.call(ARGV[3], KEYS[2], ARGV[4], ARGV[5])
  else
    items = redis.call(ARGV[3], KEYS[2], ARGV[4], ARGV[5], 'COUNT', ARGV[6])
  end
end
return {offset, epoch, items}
""")
"""Returns the position of a stream, which begins with this, and publications of it."""

ENTER: Final = _script("""
-- KEYS: clients, their ends
-- ARGV: ms they last, then id and client, id and client ...
local now = redis.call('TIME')
local ends = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[1])
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], ends, ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return #ARGV
""")
"""Notes clients that are in a channel, by the clock of Redis."""

LEAVE: Final = _script("""
-- KEYS: clients, their ends
-- ARGV: id
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
""")
"""Notes that a client left."""

PRESENT: Final = _script("""
-- KEYS: clients, their ends
local now = redis.call('TIME')
local ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ms)
for _, id in ipairs(over) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
return redis.call('HGETALL', KEYS[1])
""")
"""Returns ids and clients of a channel, without those whose time is over."""

SCRIPTS: Final = (PUBLISH, READ, ENTER, LEAVE, PRESENT)
"""All of them, which every connection makes known first."""


class Keys:
    """Names of keys and topics."""

    def __init__(self, prefix: str) -> None:
        """Have all of them begin with a prefix."""
        self._prefix = prefix

    def of(self, kind: str, channel: str) -> str:
        """Return the name of a channel's key of a kind: ``position``, ``stream`` ..."""
        return f"{self._prefix}.{{{partition_of(channel)}}}.{kind}.{channel}"

    def result(self, channel: str, key: str) -> str:
        """Return where the result of a publication with an idempotency key is."""
        # The length tells where the channel ends, whatever characters the two are made of.
        tag = partition_of(channel)
        return f"{self._prefix}.{{{tag}}}.result.{len(channel)}.{channel}.{key}"

    def topic(self, channel: str) -> bytes:
        """Return the topic of pub/sub that carries a channel."""
        return self.of("channel", channel).encode()

    def control(self, name: str) -> bytes:
        """Return a key or topic that is about processes and not channels; in partition 0."""
        return f"{self._prefix}.{{0}}.control.{name}".encode()
