"""Frames in and out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gateway.codes import BAD_REQUEST, DisconnectError, ProtocolError, internal_error
from service.gateway.frames import close_frame, text_frame
from service.gateway.protocol import (
    Command,
    Method,
    decode_frame,
    encode_error,
    encode_publication,
    encode_result,
    join,
)
from service.pools.websocket import CloseReason


def test_a_frame_holds_several_commands_in_order():
    """Clients send connect and subscribe in one frame, without waiting between."""
    commands = decode_frame(b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}\n')

    assert commands == [
        Command(1, Method.CONNECT, {}),
        Command(2, Method.SUBSCRIBE, {"channel": "a"}),
    ]


def test_the_empty_command_is_a_pong():
    """It carries neither id nor method."""
    assert decode_frame(b"{}") == [Command(0, None, {})]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "without a command"),
        (b"\n \n", "without a command"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not an object"),
        (b'{"id":1}', "0 requests"),
        (b'{"id":1,"connect":{},"publish":{}}', "2 requests"),
        (b'{"id":1,"fly":{}}', "unknown method 'fly'"),
        (b'{"id":1,"ping":{}}', "unknown method 'ping'"),
        (b'{"id":1,"connect":[]}', "not an object"),
        (b'{"connect":{}}', "without an id"),
        (b'{"id":-1,"connect":{}}', "unsigned"),
        (b'{"id":"1","connect":{}}', "unsigned"),
        (b'{"id":true,"connect":{}}', "unsigned"),
        (b'{"id":4294967296,"connect":{}}', "unsigned"),
    ],
)
def test_a_frame_that_breaks_the_protocol_ends_the_connection(frame, why):
    """With 3501, and words for our log that say what was wrong."""
    with pytest.raises(DisconnectError, match=why) as caught:
        decode_frame(frame)

    assert caught.value.close is BAD_REQUEST


@given(st.binary(max_size=200))
def test_no_frame_does_anything_but_decode_or_disconnect(frame):
    """Whatever comes, the outcome is commands or 3501."""
    try:
        commands = decode_frame(frame)
    except DisconnectError as error:
        assert error.close is BAD_REQUEST
    else:
        assert commands


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(
    number=st.integers(1, 2**32 - 1),
    method=st.sampled_from(list(Method)),
    request=st.dictionaries(st.text(), json_values, max_size=4),
)
def test_a_well_formed_command_survives_the_way(number, method, request):
    """What a client encodes is what is decoded."""
    line = json.dumps({"id": number, method.value: request}).encode()

    assert decode_frame(line) == [Command(number, method, request)]


@given(data=json_values, tags=st.dictionaries(st.text(), st.text(), max_size=3))
def test_data_is_embedded_and_never_breaks_the_line(data, tags):
    """A publication is one line of JSON, whatever is in it."""
    push = encode_publication("news", json.dumps(data).encode(), tags=tags)

    assert b"\n" not in push
    publication = json.loads(push)["push"]["pub"]
    assert publication["data"] == data
    assert publication.get("tags", {}) == tags


def test_results_and_errors_carry_the_id_and_only_what_is_set():
    """Client libraries require message and the named result, even when it is empty."""
    assert encode_result(3, Method.PUBLISH, {}) == b'{"id":3,"publish":{}}'
    assert encode_error(4, ProtocolError(103, "permission denied")) == (
        b'{"id":4,"error":{"code":103,"message":"permission denied"}}'
    )
    assert encode_error(5, internal_error()).endswith(b'"temporary":true}}')
    assert join([b"{}", b"{}"]) == b"{}\n{}"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_text_frames_have_the_right_header_at_every_length_boundary(size):
    """RFC 6455: 7, 16 or 64 bits of length, no mask."""
    payload = b"x" * size

    frame = text_frame(payload)

    assert frame[0] == 0x81
    header = 2 if size < 126 else 4 if size < 65536 else 10
    length = frame[1] if header == 2 else int.from_bytes(frame[2:header], "big")
    assert length == size
    assert frame[header:] == payload


def test_close_frames_carry_code_and_words_within_a_control_frame():
    """Longer words are cut, because a control frame takes 125 bytes."""
    assert close_frame(CloseReason(3001, "shutdown")) == b"\x88\x0a\x0b\xb9shutdown"
    assert len(close_frame(CloseReason(3001, "x" * 200))) == 127
