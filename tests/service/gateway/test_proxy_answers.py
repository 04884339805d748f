"""Answers of back ends, as bytes."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gateway.codes import DisconnectError, ProtocolError
from service.gateway.proxy_answers import (
    ConnectAnswer,
    PublishAnswer,
    RefreshAnswer,
    RPCAnswer,
    read_answer,
    read_connect,
    read_publish,
    read_refresh,
    read_rpc,
    read_sub_refresh,
    read_subscribe,
    required,
)
from service.gateway.proxy_fields import AnswerError
from service.gateway.tokens import ServerSubscription, SubscriptionGrant, SubscriptionOverride

READERS = [
    read_connect, read_publish, read_refresh, read_rpc, read_sub_refresh, read_subscribe,
]  # fmt: skip
FIELDS = [
    "user", "expire_at", "info", "b64info", "data", "b64data", "channels", "subs", "meta",
    "override", "skip_history", "tags", "idempotency_key", "version", "version_epoch", "expired",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ODD = st.dictionaries(st.sampled_from(FIELDS), JSON | st.just({"value": True}), max_size=6)


def answered(read: Any, value: Any) -> Any:
    return required(value if isinstance(value, bytes) else json.dumps(value).encode(), read)


@pytest.mark.parametrize(
    ("read", "result", "wanted"),
    [
        (read_rpc, {"data": {"a": [1]}}, RPCAnswer(b'{"a":[1]}')),
        (read_rpc, {"b64data": b64encode(b'{ "a":\n1 }').decode()}, RPCAnswer(b'{"a":1}')),
        (read_rpc, {"data": 1, "unknown": 2}, RPCAnswer(b"1")),
        (read_rpc, {}, RPCAnswer(None)),
        (
            read_connect,
            {
                "user": "56",
                "expire_at": 1700000000,
                "info": {"n": 1},
                "data": "hi",
                "channels": ["a", "b"],
                "subs": {"b": {"data": 1, "override": {"presence": {"value": True}}}},
                "meta": {"m": 1},
            },
            ConnectAnswer(
                "56",
                1700000000,
                b'{"n":1}',
                b'"hi"',
                b'{"m":1}',
                (
                    ServerSubscription("a"),
                    ServerSubscription(
                        "b", data=b"1", override=SubscriptionOverride(presence=True)
                    ),
                ),
            ),
        ),
        (read_connect, {}, ConnectAnswer("")),
        (
            read_subscribe,
            {"info": {"role": "mod"}, "data": [1], "expire_at": 0, "override": {}},
            SubscriptionGrant(b'{"role":"mod"}', b"[1]"),
        ),
        (
            read_publish,
            {"data": 2, "skip_history": True, "tags": {"a": "b"}, "idempotency_key": "k"},
            PublishAnswer(b"2", True, {"a": "b"}, "k"),
        ),
        (
            read_subscribe,
            {
                "expire_at": 1700000000,
                "override": {"join_leave": {}, "force_recovery": None},
            },
            SubscriptionGrant(
                expires_at=1.7e9, override=SubscriptionOverride(join_leave=False)
            ),
        ),
        (read_publish, {}, PublishAnswer()),
        (read_refresh, {"expired": True}, RefreshAnswer(expired=True)),
        (
            read_refresh,
            {"expire_at": 5, "info": 1, "meta": {}},
            RefreshAnswer(False, 5, b"1", b"{}"),
        ),
        (read_sub_refresh, {"expire_at": 5, "b64info": "MQ=="}, RefreshAnswer(False, 5, b"1")),
    ],
)  # fmt: skip
def test_results_are_read(read: Any, result: Any, wanted: Any):
    """Every field of the format, with its default."""
    assert answered(read, {"result": result}) == wanted


def test_numbers_keep_their_digits():
    """Those beyond 64 bits too."""
    body = b'{"result":{"data":{"wei":123456789012345678901234567890}}}'

    assert answered(read_rpc, body) == RPCAnswer(b'{"wei":123456789012345678901234567890}')


def test_an_error_is_passed_on():
    """With its words and whether to try again."""
    with pytest.raises(ProtocolError) as caught:
        answered(read_rpc, {"error": {"code": 404, "message": "no such thing", "temporary": True}})

    error = caught.value
    assert (error.code, error.message, error.temporary) == (404, "no such thing", True)


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("go away", "go away"),
        ("", ""),
        ('{"reason":"x","reconnect":true}', "disconnected by the back end"),
        ("42", "disconnected by the back end"),
        ("ä" * 100, "ä" * 61),
    ],
)
def test_a_disconnect_is_passed_on(reason: str, wanted: str):
    """With words that fit a close frame and that no client obeys as orders."""
    with pytest.raises(DisconnectError) as caught:
        answered(read_rpc, {"disconnect": {"code": 4501, "reason": reason}, "result": {}})

    assert (caught.value.close.code, caught.value.close.reason) == (4501, wanted)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[]", "not an object"),
        (b'{"result":[]}', "result is not an object"),
        (b'{"error":"no"}', "error is not an object"),
        (b'{"error":{"code":"403"}}', "code is not a whole number"),
        (b'{"error":{"code":true}}', "code is not a whole number"),
        (b'{"error":{"code":99}}', "100 to 1999"),
        (b'{"error":{}}', "100 to 1999"),
        (b'{"disconnect":{"code":1000}}', "3000 to 4999"),
        (b'{"disconnect":{"code":5000}}', "3000 to 4999"),
        (b'{"disconnect":{"code":4000,"reason":1}}', "reason is not a string"),
        (b'{"result":{"b64data":"%"}}', "b64data is no JSON"),
        (b'{"result":{"b64data":"AAAA"}}', "b64data is no JSON"),
        (b'{"result":{"b64data":"\\u0080"}}', "b64data is no JSON"),
        (b'{"result":null}', "neither result nor error nor disconnect"),
        (b"{}", "neither result nor error nor disconnect"),
    ],
)
def test_what_is_no_answer_is_refused(body: bytes, complaint: str):
    """With what is wrong about it."""
    with pytest.raises(AnswerError, match=complaint):
        answered(read_rpc, body)


@pytest.mark.parametrize(
    ("read", "result"),
    [
        (read_connect, {"user": 56}),
        (read_connect, {"expire_at": -1}),
        (read_connect, {"channels": "a"}),
        (read_connect, {"channels": [1]}),
        (read_connect, {"subs": {"a": 1}}),
        (read_subscribe, {"override": {"presence": True}}),
        (read_connect, {"expire_at": 2**60}),
        (read_publish, {"tags": {"a": 1}}),
        (read_publish, {"tags": ["a"]}),
        (read_publish, {"idempotency_key": "k" * 300}),
        (read_publish, {"skip_history": "yes"}),
        (read_refresh, {"expired": 1}),
    ],
)
def test_fields_of_another_kind_are_refused(read: Any, result: Any):
    """Rather than guessed at."""
    with pytest.raises(AnswerError):
        answered(read, {"result": result})


@pytest.mark.parametrize(
    ("read", "result"),
    [
        (read_connect, {"user": "56", "subs": {"news": {"cache_recover": True}}}),
        (read_subscribe, {"override": {"delta": {"value": True}}}),
        (read_publish, {"delta": True}),
        (read_publish, {"version": 2, "version_epoch": "e"}),
    ],
)
def test_what_cannot_be_honoured_is_refused(read: Any, result: Any):
    """Rather than done by half."""
    with pytest.raises(AnswerError, match="cannot be honoured here"):
        answered(read, {"result": result})


def test_an_empty_answer_is_nothing_where_nothing_is_allowed_by_it():
    """None, for those who ask so."""
    assert read_answer(b"{}", read_rpc) is None


@given(st.sampled_from(READERS), ODD | JSON)
def test_any_result_is_read_or_refused(read: Any, result: Any):
    """Nothing else comes of it, and what is read can be written into a line of JSON."""
    try:
        found = read_answer(json.dumps({"result": result}).encode(), read)
    except AnswerError:
        return
    data = getattr(found, "data", None)
    assert data is None or (b"\n" not in data and json.loads(data) is not ...)


@given(st.binary() | JSON)
def test_any_body_is_an_answer_or_refused(body: Any):
    """Whatever bytes come."""
    try:
        answered(read_connect, body)
    except (AnswerError, ProtocolError, DisconnectError):
        return
