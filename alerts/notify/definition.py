"""What a channel file says: settings, requests, how answers are understood, limits, pace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from alerts.notify import body
from alerts.notify.errors import FailureReason
from alerts.notify.settings import SettingDefinition
from alerts.notify.templates import Text

VARIABLES: Final = (
    "$settings",
    "$groupKey",
    "$groupKeyHash",
    "$notificationID",
    "$timestamp",
    "$timestampMS",
    "$signature",
    "$alert",
)
"""What the templates of a channel file can refer to besides their dot."""

EXTRA_FUNCTIONS: Final = ("joinPath", "split", "seconds")
"""The functions they may call besides those of all notifications."""

DEFAULT_TIMEOUT_S: Final = 30.0

Carrier = Literal["http", "smtp", "apprise"]
"""How notifications of a channel leave."""


@dataclass(frozen=True, slots=True)
class Signature:
    """How requests are signed: HMAC with SHA-256, in base64, as ``$signature``.

    Attributes:
        when: Signed only when this comes to something, such as a secret.
        key: The key.
        message: What is signed.
    """

    when: Text
    key: Text
    message: Text


@dataclass(frozen=True, slots=True)
class RequestDefinition:
    """One request of a notification.

    Attributes:
        method: HTTP method.
        url: Where to.
        status: Only for notifications of this status; empty: for all.
        condition: Only when this comes to something other than ``false``; None: always.
        for_each_alert: One request for each alert instead of one for all.
        query: Parameters added to the URL; empty ones are left out.
        headers: Header fields; empty ones are left out.
        content: What the body is.
        body: The body; for a form a mapping.
        address_settings: Settings the host of the URL comes out of.
        is_address_from_data: Whether data of alerts can be part of the host.
    """

    method: str
    url: Text
    status: Literal["", "firing", "resolved"] = ""
    condition: Text | None = None
    for_each_alert: bool = False
    query: tuple[tuple[str, Text], ...] = ()
    headers: tuple[tuple[str, Text], ...] = ()
    content: Literal["json", "form", "text"] = "json"
    body: body.Tree = None
    address_settings: tuple[str, ...] = ()
    is_address_from_data: bool = False


@dataclass(frozen=True, slots=True)
class AnswerTest:
    """What an answer must be like; all that is said must hold.

    Attributes:
        statuses: HTTP statuses, or their first digit for all of a class; empty: any.
        text: The whole body, without blanks around it; None: any.
        contains: A part of the body; empty: any.
        json: JSON pointers, each with the values of which one must be there.
    """

    statuses: tuple[int, ...] = ()
    text: str | None = None
    contains: str = ""
    json: tuple[tuple[str, tuple[object, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is done about an answer that says no.

    Attributes:
        test: Which answers are meant.
        retry: Whether it makes sense to try again.
        wait_s: How long to leave the receiver alone at least, in seconds.
        reason: In which way it failed.
    """

    test: AnswerTest
    retry: bool
    wait_s: float | None = None
    reason: FailureReason = FailureReason.REFUSED


@dataclass(frozen=True, slots=True)
class AnswerDefinition:
    """How an answer is understood.

    Attributes:
        accepted: It says yes when one of these holds.
        refusals: What a no means, looked at in order; what none meets goes by its status.
        retry_after: JSON pointers to a number of seconds, besides ``Retry-After``.
        message: JSON pointers to what the receiver says is wrong.
    """

    accepted: tuple[AnswerTest, ...] = (AnswerTest(statuses=(2,)),)
    refusals: tuple[Refusal, ...] = ()
    retry_after: tuple[str, ...] = ()
    message: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """How large the body of a request may be.

    Attributes:
        size: Most bytes.
        shorten: Settings whose texts are shortened until it fits.
        omit: Settings that are left out before that.
    """

    size: int
    shorten: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pace:
    """At most so many requests in any period of so many seconds."""

    requests: int
    period_s: float


@dataclass(frozen=True, slots=True)
class ChannelDefinition:
    """A channel.

    Two are equal when they were read from the same text.

    Attributes:
        kind: Its name; entries stand under ``KIND_configs``.
        source: The text of its file.
        title: What people call it.
        documentation: Where its receiver is described.
        carrier: How notifications leave.
        send_resolved: Whether it is told about alerts that ended, unless an entry says otherwise.
        timeout_s: Longest wait for an answer unless an entry says otherwise, in seconds.
        settings: What an entry can say.
        alternatives: Names of settings of which one, and only one, must be set.
        signature: How requests are signed; None: not.
        requests: What is sent, in order.
        body_limit: How large a body may be; None: no limit.
        answer: How answers are understood.
        pace: How often requests may be made.
        needs_authorization: Whether an entry must have ``http_config.authorization``.
    """

    kind: str
    source: str = field(repr=False)
    title: str = field(default="", compare=False)
    documentation: str = field(default="", compare=False, repr=False)
    carrier: Carrier = field(default="http", compare=False)
    send_resolved: bool = field(default=True, compare=False)
    timeout_s: float = field(default=DEFAULT_TIMEOUT_S, compare=False)
    settings: tuple[SettingDefinition, ...] = field(default=(), compare=False, repr=False)
    alternatives: tuple[tuple[str, ...], ...] = field(default=(), compare=False, repr=False)
    signature: Signature | None = field(default=None, compare=False, repr=False)
    requests: tuple[RequestDefinition, ...] = field(default=(), compare=False, repr=False)
    body_limit: BodyLimit | None = field(default=None, compare=False, repr=False)
    answer: AnswerDefinition = field(default=AnswerDefinition(), compare=False, repr=False)
    pace: tuple[Pace, ...] = field(default=(), compare=False, repr=False)
    needs_authorization: bool = field(default=False, compare=False, repr=False)

    def setting(self, name: str) -> SettingDefinition | None:
        """Return a setting by its name, None when there is none."""
        return next((each for each in self.settings if each.name == name), None)
