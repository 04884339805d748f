"""The services behind the channels that are shipped: their rules, and how they say no.

Each is written from the service's documentation, not from our channel files.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from alerts.notify.errors import FailureReason
from tests.support.channel_servers.server import Asked, Refused, Rules, Said, need

NOW_S = 1_700_000_000
"""The moment at which the tests' clock stands."""

GROUP_HASH = hashlib.sha256(b"g").hexdigest()
"""What stands for the aggregation group of the tests' notifications."""


@dataclass(frozen=True)
class No:
    """One way a service says no, and what that must come to."""

    said: Said
    reason: FailureReason
    permanent: bool
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Service:
    """A service.

    Attributes:
        kind: Name of the channel.
        entry: What stands in the configuration; ``URL`` is the server.
        rules: What a request must be like.
        refuse: How a request that breaks a rule is answered.
        noes: Further ways to say no.
        secrets: What must not show.
        requests: Requests for one notification.
        defaults: The section ``global``.
    """

    kind: str
    entry: Mapping[str, Any]
    rules: Rules
    refuse: Callable[[str], Said] = lambda rule: Said(400, rule)
    noes: tuple[No, ...] = ()
    secrets: tuple[str, ...] = ()
    requests: int = 1
    name: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """What the test is called."""
        return self.name or self.kind


def _posted(asked: Asked, path: str) -> Any:
    need(asked.method == "POST", "method")
    need(asked.path == path, f"path {asked.path}")
    return asked.json


def _text(value: object, most: int, *, least: int = 1) -> None:
    need(isinstance(value, str) and least <= len(value) <= most, f"a text of {least} to {most}")


def _url(value: str) -> None:
    need(urlsplit(value).scheme in ("http", "https"), f"no URL: {value}")


# Webhook and hand-over.


def _webhook(asked: Asked) -> Said:
    body = _posted(asked, "/hook/T0K3N")
    need(body["version"] == "4", "version")
    need(body["status"] in ("firing", "resolved"), "status")
    for key in ("groupLabels", "commonLabels", "commonAnnotations", "routeLabels"):
        need(isinstance(body[key], dict), key)
    for key in ("receiver", "groupKey", "externalURL", "notification_reason"):
        need(isinstance(body[key], str), key)
    need(body["truncatedAlerts"] >= 0, "truncatedAlerts")
    for alert in body["alerts"]:
        need(len(alert["fingerprint"]) == 16, "fingerprint")
        for key in ("startsAt", "endsAt"):
            datetime.fromisoformat(alert[key])
    return Said(204)


def _alertmanager(asked: Asked) -> Said:
    alerts = _posted(asked, "/prefix/api/v2/alerts")
    need(isinstance(alerts, list) and alerts, "a list of alerts")
    for alert in alerts:
        need(alert["labels"].get("alertname"), "labels")
        need(alert["labels"].get("from") == "gatewatch", "the added label")
        need(all(isinstance(text, str) for text in alert["labels"].values()), "texts")
        starts, ends = (datetime.fromisoformat(alert[key]) for key in ("startsAt", "endsAt"))
        need(starts < ends, "an alert ends after it starts")
        _ = alert["annotations"]
    return Said(200, "")


# Chat.


def _slack(asked: Asked) -> Said:
    body = _posted(asked, "/services/T000/B000/XXXX1234")
    need(body.get("text") or body.get("attachments"), "no_text")
    for attachment in body.get("attachments", ()):
        _text(attachment["fallback"], 4000)
        _text(attachment["title"], 1024)
        _url(attachment["title_link"])
        need(attachment["color"] in ("danger", "good", "warning"), "color")
        for action in attachment.get("actions", ()):
            need(action["type"] and action["text"], "action")
        for each in attachment.get("fields", ()):
            need(each["title"] and each["value"] and isinstance(each["short"], bool), "field")
    return Said(200, "ok")


def _slack_bot(asked: Asked) -> Said:
    if asked.headers.get("authorization") != "Bearer xoxb-secret-token":
        return Said(200, {"ok": False, "error": "invalid_auth"})
    body = _posted(asked, "/api/chat.postMessage")
    if body.get("channel") != "#ops":
        return Said(200, {"ok": False, "error": "channel_not_found"})
    return Said(200, {"ok": True, "ts": "1", "channel": "C1"})


def _discord(asked: Asked) -> Said:
    body = _posted(asked, "/api/webhooks/123456/tokentoken")
    _text(body.get("content", ""), 2000, least=0)
    need(len(body["embeds"]) <= 10, "embeds")
    total = 0
    for embed in body["embeds"]:
        _text(embed["title"], 256)
        _text(embed["description"], 4096)
        need(isinstance(embed["color"], int) and 0 <= embed["color"] <= 0xFFFFFF, "color")
        total += len(embed["title"]) + len(embed["description"])
    need(total <= 6000, "embeds have 6000 characters")
    return Said(204)


def _msteams(asked: Asked) -> Said:
    body = _posted(asked, "/webhookb2/aaaa-bbbb")
    need(len(asked.raw) <= 28 * 1024, "413")
    need(body["@type"] == "MessageCard", "@type")
    need(body.get("summary") or body.get("text"), "Summary or Text is required.")
    need(len(body["themeColor"]) == 6 and int(body["themeColor"], 16) >= 0, "themeColor")
    return Said(200, "1")


def _msteamsv2(asked: Asked) -> Said:
    body = _posted(asked, "/workflows/abcdef12/triggers/manual")
    need(asked.query.get("sig") == "SIGNATURE1", "sig")
    need(len(asked.raw) <= 28 * 1024, "413")
    need(body["type"] == "message", "type")
    (attachment,) = body["attachments"]
    need(attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "contentType")
    need("contentUrl" in attachment and attachment["contentUrl"] is None, "contentUrl")
    card = attachment["content"]
    need(card["type"] == "AdaptiveCard" and card["version"] and card["$schema"], "card")
    need(card["msteams"] == {"width": "Full"}, "width")
    for block in card["body"]:
        need(block["type"] == "TextBlock" and block["text"], "TextBlock")
    return Said(202)


def _telegram(asked: Asked) -> Said:
    if asked.path != "/bot123456:AAbbCC/sendMessage":
        raise Refused("Not Found")
    body = _posted(asked, asked.path)
    need(body["chat_id"] in ("-100123", "@ops"), "chat not found")
    _text(body["text"], 4096)
    need(body.get("parse_mode") in (None, "HTML", "Markdown", "MarkdownV2"), "parse_mode")
    if body.get("parse_mode") == "HTML":
        need("<" not in body["text"].replace("<b>", "").replace("</b>", ""), "can't parse entities")
    return Said(200, {"ok": True, "result": {"message_id": 1}})


def _feishu_sign(body: Mapping[str, Any], secret: str) -> None:
    timestamp = body["timestamp"]
    need(abs(int(timestamp) - NOW_S) < 3600, "19021")
    digest = hmac.new(f"{timestamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
    need(body["sign"] == base64.b64encode(digest).decode(), "19021")


def _feishu(asked: Asked) -> Said:
    body = _posted(asked, "/open-apis/bot/v2/hook/aaaa-bbbb-cccc")
    need(len(asked.raw) <= 20 * 1024, "11246")
    _feishu_sign(body, "s3cr3tkey")
    if body["msg_type"] == "text":
        _text(body["content"]["text"], 20_000)
        need("card" not in body, "9499")
    else:
        need(body["msg_type"] == "interactive", "9499")
        need(body["card"]["header"]["title"]["tag"] == "plain_text", "9499")
        for element in body["card"]["elements"]:
            need(element["tag"] == "markdown" and element["content"], "9499")
    return Said(200, {"code": 0, "msg": "success", "data": {}})


def _feishu_no(rule: str) -> Said:
    code = int(rule) if rule.isdecimal() else 9499
    return Said(200, {"code": code, "msg": "sign match fail or timestamp is not within one hour"})


def _lark_unsigned(asked: Asked) -> Said:
    body = _posted(asked, "/open-apis/bot/v2/hook/aaaa-bbbb-cccc")
    need("sign" not in body and "timestamp" not in body, "9499")
    need(body["msg_type"] == "text", "9499")
    return Said(200, {"StatusCode": 0, "StatusMessage": "success"})


def _dingtalk(asked: Asked) -> Said:
    body = _posted(asked, "/robot/send")
    need(asked.query["access_token"] == "dingtoken", "300001")
    timestamp = asked.query["timestamp"]
    need(abs(int(timestamp) / 1000 - NOW_S) < 3600, "310000")
    message = f"{timestamp}\nSECdingsecret".encode()
    digest = hmac.new(b"SECdingsecret", message, hashlib.sha256).digest()
    need(asked.query["sign"] == base64.b64encode(digest).decode(), "310000")
    need(len(asked.raw) <= 20_000, "460101")
    if body["msgtype"] == "markdown":
        _text(body["markdown"]["title"], 500)
        _text(body["markdown"]["text"], 20_000)
        for number in body.get("at", {}).get("atMobiles", ()):
            need(f"@{number}" in body["markdown"]["text"], "400000")
    else:
        need(body["msgtype"] == "text", "400000")
        _text(body["text"]["content"], 20_000)
    return Said(200, {"errcode": 0, "errmsg": "ok"})


def _errcode_no(rule: str) -> Said:
    code = int(rule) if rule.isdecimal() else 40035
    return Said(200, {"errcode": code, "errmsg": f"refused: {rule}"})


def _wecom(asked: Asked) -> Said:
    body = _posted(asked, "/cgi-bin/webhook/send")
    need(asked.query["key"] == "wecomkey1", "93000")
    content = body[body["msgtype"]]["content"]
    most = {"markdown": 4096, "text": 2048}[body["msgtype"]]
    need(0 < len(content.encode()) <= most, "40058")
    return Said(200, {"errcode": 0, "errmsg": "ok"})


def _mattermost(asked: Asked) -> Said:
    body = _posted(asked, "/hooks/xxxxhook")
    need(body.get("text") or body.get("attachments"), "no text specified")
    for attachment in body.get("attachments", ()):
        _text(attachment["text"], 16383)
        _text(attachment["fallback"], 16383)
    if "priority" in body:
        need(body["priority"]["priority"] in ("urgent", "important", "standard"), "priority")
    return Said(200, "ok")


def _googlechat(asked: Asked) -> Said:
    body = _posted(asked, "/v1/spaces/AAAA/messages")
    need(asked.query["key"] == "gkey12345" and asked.query["token"] == "gtoken123", "key")
    need(len(body["text"].encode()) <= 4096 and body["text"], "text")
    if "thread" in body:
        need(asked.query["messageReplyOption"].startswith("REPLY_MESSAGE"), "messageReplyOption")
        need(body["thread"]["threadKey"] == GROUP_HASH, "threadKey")
    return Said(200, {"name": "spaces/AAAA/messages/1"})


def _webex(asked: Asked) -> Said:
    if asked.headers.get("authorization") != "Bearer webextoken":
        return Said(401, {"message": "The request requires a valid access token"})
    body = _posted(asked, "/v1/messages")
    need(body["roomId"] == "room1", "roomId")
    need(0 < len(body["markdown"].encode()) <= 7439, "markdown")
    return Said(200, {"id": "1"})


def _rocketchat(asked: Asked) -> Said:
    tokens = (asked.headers.get("x-auth-token"), asked.headers.get("x-user-id"))
    if tokens != ("rockettoken", "rocketuser"):
        return Said(401, {"status": "error", "message": "You must be logged in to do this."})
    body = _posted(asked, "/api/v1/chat.postMessage")
    need(body["channel"] == "#ops", "error-room-not-found")
    _text(body["attachments"][0]["text"], 5000)
    return Said(200, {"success": True, "ts": 1})


# Calls.


def _pagerduty(asked: Asked) -> Said:
    body = _posted(asked, "/v2/enqueue")
    need(len(asked.raw) <= 512_000, "too large")
    need(body["routing_key"] == "R" * 32, "Invalid routing key")
    need(body["event_action"] in ("trigger", "acknowledge", "resolve"), "event_action")
    _text(body["dedup_key"], 255)
    need(body["dedup_key"] == GROUP_HASH, "dedup_key")
    payload = body["payload"]
    _text(payload["summary"], 1024)
    _text(payload["source"], 1024)
    need(payload["severity"] in ("critical", "error", "warning", "info"), "severity")
    need(isinstance(payload["custom_details"], dict), "custom_details")
    for link in body.get("links", ()):
        _url(link["href"])
    return Said(202, {"status": "success", "message": "Event processed", "dedup_key": GROUP_HASH})


def _pagerduty_no(rule: str) -> Said:
    return Said(
        400, {"status": "invalid event", "message": "Event object is invalid", "errors": [rule]}
    )


def _pagerduty_v1(asked: Asked) -> Said:
    body = _posted(asked, "/generic/create_event.json")
    need(body["service_key"] == "S" * 32, "service_key")
    need(body["event_type"] in ("trigger", "resolve"), "event_type")
    _text(body["description"], 1024)
    need(body["incident_key"] == GROUP_HASH, "incident_key")
    need(("client" in body) == (body["event_type"] == "trigger"), "client")
    return Said(200, {"status": "success", "incident_key": GROUP_HASH})


def _opsgenie(asked: Asked) -> Said:
    if asked.headers.get("authorization") != "GenieKey opskey123":
        return Said(422, {"message": "Key format is not valid!"})
    body = asked.json
    alert = f"/v2/alerts/{GROUP_HASH}"
    match asked.method, asked.path.removeprefix(alert):
        case "POST", "/v2/alerts":
            need(body["alias"] == GROUP_HASH, "alias")
            _text(body["message"], 130)
            _text(body["description"], 15_000)
            need(body.get("priority") in (None, "P1", "P2", "P3", "P4", "P5"), "priority")
            need(all(isinstance(tag, str) and tag for tag in body.get("tags", ())), "tags")
            for responder in body.get("responders", ()):
                need(responder["type"] in ("team", "user", "escalation", "schedule"), "type")
                need(len(responder) == 2, "one of id, name and username")
            need(all(isinstance(text, str) for text in body["details"].values()), "details")
        case "POST", "/close":
            need(asked.query["identifierType"] == "alias", "identifierType")
        case "PUT", "/message" | "/description":
            need(asked.query["identifierType"] == "alias" and len(body) == 1, "update")
        case _:
            raise Refused(f"no such path: {asked.path}")
    return Said(202, {"result": "Request will be processed", "requestId": "1"})


def _victorops(asked: Asked) -> Said:
    body = _posted(asked, "/alert/victorkey1/team-a")
    need(body["message_type"] in ("INFO", "WARNING", "CRITICAL", "RECOVERY"), "message_type")
    need(body["entity_id"] == GROUP_HASH, "entity_id")
    _text(body["state_message"], 20_480)
    need(body["team"] == "a", "custom field")
    return Said(200, {"result": "success", "entity_id": GROUP_HASH})


def _pushover(asked: Asked) -> Said:
    need(asked.method == "POST" and asked.path == "/1/messages.json", "path")
    form = asked.form
    need(form["token"] == "pushtoken" and form["user"] == "pushuser1", "token")
    _text(form["message"], 1024)
    _text(form["title"], 250)
    need(form["priority"] in ("-2", "-1", "0", "1", "2"), "priority")
    if form["priority"] == "2":
        need(int(form["retry"]) >= 30 and int(form["expire"]) <= 10_800, "retry and expire")
    return Said(200, {"status": 1, "request": "r"})


# Push.


def _ntfy(asked: Asked) -> Said:
    body = _posted(asked, "/")
    if asked.headers.get("authorization") != "Bearer tk_ntfytoken":
        return Said(403, {"code": 40301, "http": 403, "error": "forbidden"})
    need(body["topic"] == "alerts-topic", "topic")
    need(len(body["message"].encode()) <= 4096 and len(body["title"].encode()) <= 1024, "size")
    need(body["priority"] in (1, 2, 3, 4, 5), "priority")
    need(isinstance(body["tags"], list), "tags")
    return Said(200, {"id": "abc", "event": "message"})


def _gotify(asked: Asked) -> Said:
    body = _posted(asked, "/message")
    if asked.headers.get("x-gotify-key") != "gotifytoken":
        return Said(
            401, {"error": "Unauthorized", "errorDescription": "you need to provide a token"}
        )
    need(body["message"] and isinstance(body["priority"], int), "message")
    return Said(200, {"id": 1, "appid": 1})


_TOO_MANY = No(Said(429, "slow down", {"Retry-After": "7"}), FailureReason.THROTTLED, False, 7.0)
_BROKEN = No(Said(503, "down"), FailureReason.SERVER_ERROR, False)
_UNKNOWN = No(Said(404, "no such hook"), FailureReason.REFUSED, True)
USUAL_NOES = (_TOO_MANY, _BROKEN, _UNKNOWN)

SERVICES: tuple[Service, ...] = (
    Service("webhook", {"url": "URL/hook/T0K3N"}, _webhook, secrets=("T0K3N",)),
    Service("alertmanager", {"url": "URL/prefix/", "labels": {"from": "gatewatch"}}, _alertmanager),
    Service(
        "slack",
        {
            "api_url": "URL/services/T000/B000/XXXX1234",
            "send_resolved": True,
            "channel": "#ops",
            "short_fields": True,
            "fields": [
                {"title": "a", "value": "{{ .Status }}"},
                {"title": "b", "value": "c", "short": False},
            ],
            "actions": [{"type": "button", "text": "Open", "url": "{{ .ExternalURL }}"}],
        },
        _slack,
        noes=(
            No(Said(200, "invalid_payload"), FailureReason.REFUSED, True),
            No(Said(400, "invalid_token"), FailureReason.REFUSED, True),
        ),
        secrets=("XXXX1234",),
    ),
    Service(
        "slack",
        {
            "app_token": "xoxb-secret-token",
            "app_url": "URL/api/chat.postMessage",
            "channel": "#ops",
        },
        _slack_bot,
        noes=(
            No(Said(200, {"ok": False, "error": "channel_not_found"}), FailureReason.REFUSED, True),
            No(
                Said(200, {"ok": False, "error": "ratelimited"}),
                FailureReason.THROTTLED,
                False,
                30.0,
            ),
        ),
        secrets=("xoxb-secret-token",),
        name="slack-bot",
        defaults={"slack_api_url": "http://elsewhere.example/x"},
    ),
    Service(
        "discord",
        {"webhook_url": "URL/api/webhooks/123456/tokentoken"},
        _discord,
        noes=(
            No(
                Said(429, {"message": "You are being rate limited.", "retry_after": 1.25}),
                FailureReason.THROTTLED,
                False,
                1.25,
            ),
            No(
                Said(404, {"message": "Unknown Webhook", "code": 10015}),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("tokentoken",),
    ),
    Service(
        "msteams",
        {"webhook_url": "URL/webhookb2/aaaa-bbbb"},
        _msteams,
        noes=(
            No(
                Said(
                    200,
                    "Webhook message delivery failed with error: Microsoft Teams endpoint "
                    "returned HTTP error 429 with ContextId x",
                ),
                FailureReason.THROTTLED,
                False,
                10.0,
            ),
            No(
                Said(
                    200,
                    "Webhook message delivery failed with error: Microsoft Teams endpoint "
                    "returned HTTP error 413",
                ),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("aaaa-bbbb",),
    ),
    Service(
        "msteamsv2",
        {"webhook_url": "URL/workflows/abcdef12/triggers/manual?sig=SIGNATURE1"},
        _msteamsv2,
        noes=(
            No(
                Said(401, {"error": {"code": "DirectApiAuthorizationRequired", "message": "no"}}),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("SIGNATURE1", "abcdef12"),
    ),
    Service(
        "pagerduty",
        {
            "routing_key": "R" * 32,
            "url": "URL/v2/enqueue",
            "details": {"runbook": "http://runbooks/{{ .GroupLabels.alertname }}", "count": 3},
            "links": [{"href": "{{ .ExternalURL }}", "text": "x"}, {"href": "", "text": "gone"}],
        },
        _pagerduty,
        _pagerduty_no,
        noes=(
            No(
                Said(400, {"status": "invalid event", "message": "bad", "errors": ["x"]}),
                FailureReason.REFUSED,
                True,
            ),
            No(Said(429, {"status": "throttle exceeded"}), FailureReason.THROTTLED, False),
            No(Said(202, {"status": "invalid"}), FailureReason.REFUSED, True),
        ),
        secrets=("R" * 32,),
    ),
    Service(
        "pagerduty",
        {"service_key": "S" * 32, "v1_url": "URL/generic/create_event.json"},
        _pagerduty_v1,
        noes=(No(Said(403, "too many"), FailureReason.THROTTLED, False, 30.0),),
        secrets=("S" * 32,),
        name="pagerduty-v1",
    ),
    Service(
        "opsgenie",
        {
            "api_key": "opskey123",
            "api_url": "URL/",
            "tags": "a, b,,",
            "priority": "P2",
            "details": {"more": "{{ .Status }}"},
            "responders": [
                {"type": "teams", "name": "a, b"},
                {"type": "user", "username": "u@example.org"},
            ],
        },
        _opsgenie,
        noes=(No(Said(422, {"message": "bad"}), FailureReason.REFUSED, True),),
        secrets=("opskey123",),
    ),
    Service(
        "opsgenie",
        {"api_key": "opskey123", "api_url": "URL", "update_alerts": True},
        _opsgenie,
        requests=3,
        secrets=("opskey123",),
        name="opsgenie-update",
    ),
    Service(
        "victorops",
        {
            "api_key": "victorkey1",
            "api_url": "URL/alert/",
            "routing_key": "team-{{ with .CommonLabels.team }}{{ . }}{{ else }}a{{ end }}",
            "custom_fields": {"team": "a"},
        },
        _victorops,
        noes=(
            No(
                Said(200, {"result": "failure", "messages": ["unknown key"]}),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("victorkey1",),
    ),
    Service(
        "pushover",
        {"user_key": "pushuser1", "token": "pushtoken", "api_url": "URL/1/messages.json"},
        _pushover,
        lambda rule: Said(400, {"status": 0, "errors": [rule]}),
        noes=(
            No(
                Said(400, {"status": 0, "errors": ["user identifier is invalid"]}),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("pushuser1", "pushtoken"),
    ),
    Service(
        "telegram",
        {"bot_token": "123456:AAbbCC", "api_url": "URL", "chat_id": -100123},
        _telegram,
        lambda rule: Said(400, {"ok": False, "error_code": 400, "description": rule}),
        noes=(
            No(
                Said(
                    429,
                    {
                        "ok": False,
                        "error_code": 429,
                        "description": "Too Many Requests: retry after 35",
                        "parameters": {"retry_after": 35},
                    },
                ),
                FailureReason.THROTTLED,
                False,
                35.0,
            ),
            No(
                Said(403, {"ok": False, "error_code": 403, "description": "bot was kicked"}),
                FailureReason.REFUSED,
                True,
            ),
            No(Said(200, {"ok": False, "error_code": 400}), FailureReason.REFUSED, True),
        ),
        secrets=("123456:AAbbCC",),
    ),
    Service(
        "feishu",
        {
            "webhook_url": "URL/open-apis/bot/v2/hook/aaaa-bbbb-cccc",
            "secret": "s3cr3tkey",
        },
        _feishu,
        _feishu_no,
        noes=(
            No(Said(200, {"code": 19021, "msg": "sign match fail"}), FailureReason.REFUSED, True),
            No(
                Said(200, {"code": 19024, "msg": "Key Words Not Found"}),
                FailureReason.REFUSED,
                True,
            ),
            No(
                Said(200, {"code": 11232, "msg": "frequency limited"}),
                FailureReason.THROTTLED,
                False,
                30.0,
            ),
            No(Said(200, "<html>a portal</html>"), FailureReason.SERVER_ERROR, False),
        ),
        secrets=("aaaa-bbbb-cccc", "s3cr3tkey"),
    ),
    Service(
        "feishu",
        {
            "webhook_url": "URL/open-apis/bot/v2/hook/aaaa-bbbb-cccc",
            "secret": "s3cr3tkey",
            "message_type": "text",
            "at_all": True,
        },
        _feishu,
        _feishu_no,
        secrets=("aaaa-bbbb-cccc", "s3cr3tkey"),
        name="feishu-text",
    ),
    Service(
        "lark",
        {"webhook_url": "URL/open-apis/bot/v2/hook/aaaa-bbbb-cccc", "message_type": "text"},
        _lark_unsigned,
        _feishu_no,
        secrets=("aaaa-bbbb-cccc",),
    ),
    Service(
        "dingtalk",
        {
            "webhook_url": "URL/robot/send?access_token=dingtoken",
            "secret": "SECdingsecret",
            "at_mobiles": ["13800000000"],
        },
        _dingtalk,
        _errcode_no,
        noes=(
            No(
                Said(200, {"errcode": 310000, "errmsg": "sign not match"}),
                FailureReason.REFUSED,
                True,
            ),
            No(
                Said(200, {"errcode": 130101, "errmsg": "send too fast"}),
                FailureReason.THROTTLED,
                False,
                600.0,
            ),
        ),
        secrets=("dingtoken", "SECdingsecret"),
    ),
    Service(
        "wecom",
        {"webhook_url": "URL/cgi-bin/webhook/send?key=wecomkey1"},
        _wecom,
        _errcode_no,
        noes=(
            No(
                Said(200, {"errcode": 45009, "errmsg": "api freq out of limit"}),
                FailureReason.THROTTLED,
                False,
                60.0,
            ),
            No(
                Said(200, {"errcode": 93000, "errmsg": "invalid webhook url"}),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("wecomkey1",),
    ),
    Service(
        "wecom",
        {"webhook_url": "URL/cgi-bin/webhook/send?key=wecomkey1", "message_type": "text"},
        _wecom,
        _errcode_no,
        secrets=("wecomkey1",),
        name="wecom-text",
    ),
    Service(
        "mattermost",
        {
            "webhook_url": "URL/hooks/xxxxhook",
            "priority": {"priority": "Urgent", "requested_ack": True},
        },
        _mattermost,
        noes=(
            No(
                Said(400, {"id": "web.incoming_webhook", "message": "no text"}),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("xxxxhook",),
    ),
    Service(
        "googlechat",
        {"url": "URL/v1/spaces/AAAA/messages?key=gkey12345&token=gtoken123"},
        _googlechat,
        noes=(
            No(
                Said(429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}),
                FailureReason.THROTTLED,
                False,
            ),
        ),
        secrets=("gkey12345", "gtoken123"),
    ),
    Service(
        "webex",
        {
            "api_url": "URL/v1/messages",
            "room_id": "room1",
            "http_config": {"authorization": {"credentials": "webextoken"}},
        },
        _webex,
        secrets=("webextoken",),
    ),
    Service(
        "rocketchat",
        {
            "api_url": "URL/",
            "token": "rockettoken",
            "token_id": "rocketuser",
            "channel": "#ops",
            "send_resolved": True,
        },
        _rocketchat,
        noes=(
            No(
                Said(200, {"success": False, "error": "[invalid-channel]"}),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("rockettoken", "rocketuser"),
    ),
    Service(
        "ntfy",
        {"url": "URL", "topic": "alerts-topic", "token": "tk_ntfytoken"},
        _ntfy,
        noes=(
            No(
                Said(429, {"code": 42901, "http": 429, "error": "limit reached"}),
                FailureReason.THROTTLED,
                False,
            ),
        ),
        secrets=("tk_ntfytoken", "alerts-topic"),
    ),
    Service(
        "gotify",
        {"url": "URL/", "token": "gotifytoken"},
        _gotify,
        noes=(
            No(
                Said(401, {"error": "Unauthorized", "errorDescription": "bad token"}),
                FailureReason.REFUSED,
                True,
            ),
        ),
        secrets=("gotifytoken",),
    ),
)
"""Every service that is asked by HTTP."""
