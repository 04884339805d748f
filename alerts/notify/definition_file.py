"""Reads channel files. Everything in them is checked here, with file, line and column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from alerts.documents import Document, ValuePath
from alerts.errors import Problem
from alerts.notify import body
from alerts.notify.body_file import read_tree
from alerts.notify.definition import (
    DEFAULT_TIMEOUT_S,
    EXTRA_FUNCTIONS,
    VARIABLES,
    AnswerDefinition,
    AnswerTest,
    BodyLimit,
    Carrier,
    ChannelDefinition,
    Pace,
    Refusal,
    RequestDefinition,
    Signature,
)
from alerts.notify.errors import FailureReason
from alerts.notify.setting_file import read_setting_definitions
from alerts.notify.settings import SettingDefinition
from alerts.notify.templates import Text
from alerts.sections import Keys, Section, open_section
from alerts.templates.errors import TemplateError

_TOP_KEYS: Final = Keys(
    (
        "channel",
        "title",
        "documentation",
        "like",
        "carrier",
        "send_resolved",
        "timeout",
        "settings",
        "one_of",
        "needs_authorization",
        "signature",
        "requests",
        "body_limit",
        "answer",
        "pace",
    )
)
_LIKE_KEYS: Final = Keys(("channel", "title", "documentation", "like"))
_SIGNATURE_KEYS: Final = Keys(("when", "key", "message"))
_REQUEST_KEYS: Final = Keys(
    ("when", "if", "for_each", "method", "url", "query", "headers", "json", "form", "text")
)
_TEST_KEYS: Final = ("status", "text", "contains", "json")
_ANSWER_KEYS: Final = Keys(("accepted", "refusals", "retry_after", "message"))
_REFUSAL_KEYS: Final = Keys((*_TEST_KEYS, "retry", "wait", "reason"))
_LIMIT_KEYS: Final = Keys(("bytes", "shorten", "omit"))
_PACE_KEYS: Final = Keys(("requests", "per"))
_METHODS: Final = ("POST", "PUT", "PATCH", "GET", "DELETE")
_KIND: Final = re.compile(r"[a-z][a-z0-9_]*")
_SETTING: Final = re.compile(r"\$settings\.(\w+)")
_ADDRESS: Final = re.compile(
    r"https?://((?:\{\{.*?\}\}|[^/?#{])*)|((?:\{\{.*?\}\}[^/?#{]*)+)", re.DOTALL
)
"""The part of a URL's template that the host comes out of."""

_JOIN_PATH: Final = re.compile(r"joinPath\s+(\$settings\.\w+)[^}]*")
_DATA: Final = re.compile(r"(?<![\w$])\.[A-Za-z]|\$alert|\$groupKey|\{\{-?\s*template")
_REASONS: Final = ("refused", "throttled", "server_error", "timeout")


def read_definition(
    document: Document, problems: list[Problem], known: Iterable[ChannelDefinition] = ()
) -> ChannelDefinition | None:
    """Return the channel a file defines, None when it defines none.

    Args:
        document: The file.
        problems: Where everything that is wrong with it is put.
        known: Channels that this one may be like.
    """
    section = open_section(document, (), document.data, problems, "a channel file")
    if section is None:
        return None
    section.check_keys(_LIKE_KEYS if section.has("like") else _TOP_KEYS, "a channel file")
    kind = section.required_text("channel")
    if kind and _KIND.fullmatch(kind) is None:
        section.report("channel", f"{kind!r} is no name of a channel: a-z, 0-9 and _")
    if section.has("like"):
        return _like(section, kind, known)
    return _Reader(section, read_setting_definitions(section, "settings")).definition(kind)


def _like(
    section: Section, kind: str, known: Iterable[ChannelDefinition]
) -> ChannelDefinition | None:
    others = {definition.kind: definition for definition in known}
    other = others.get(section.text("like"))
    if other is None:
        names = ", ".join(sorted(others)) or "none"
        section.report("like", f"there is no channel {section.text('like')!r}; known are {names}")
        return None
    return ChannelDefinition(
        kind,
        f"{section.document.source}\n{other.source}",
        section.text("title", kind),
        section.text("documentation", other.documentation),
        other.carrier,
        other.send_resolved,
        other.timeout_s,
        other.settings,
        other.alternatives,
        other.signature,
        other.requests,
        other.body_limit,
        other.answer,
        other.pace,
        other.needs_authorization,
    )


class _Reader:
    """Reads one file, whose settings are known."""

    def __init__(self, section: Section, settings: tuple[SettingDefinition, ...]) -> None:
        self._section = section
        self._settings = settings
        self._names = {setting.name for setting in settings}

    def definition(self, kind: str) -> ChannelDefinition:
        section = self._section
        carrier = self._carrier()
        requests = self._requests()
        if carrier == "http" and not requests:
            section.report(None, "requests are missing: a channel makes at least one")
        if carrier != "http" and requests:
            section.report("requests", f"with the carrier {carrier} there are no requests")
        return ChannelDefinition(
            kind,
            section.document.source,
            section.text("title", kind),
            section.text("documentation"),
            carrier,
            section.flag("send_resolved", default=True),
            section.positive_duration("timeout", DEFAULT_TIMEOUT_S),
            self._settings,
            self._alternatives(),
            self._signature(),
            requests,
            self._body_limit(),
            self._answer(),
            self._pace(),
            section.flag("needs_authorization", default=False),
        )

    def _carrier(self) -> Carrier:
        match self._section.text("carrier", "http"):
            case "http":
                return "http"
            case "smtp":
                return "smtp"
            case "apprise":
                return "apprise"
            case other:
                self._section.report(
                    "carrier", f"carrier must be 'http', 'smtp' or 'apprise', not {other!r}"
                )
                return "http"

    def _alternatives(self) -> tuple[tuple[str, ...], ...]:
        found: list[tuple[str, ...]] = []
        for index, item in enumerate(self._section.items("one_of")):
            path = (*self._section.path, "one_of", index)
            names = tuple(map(str, item)) if isinstance(item, list) else ()
            if len(names) < 2:
                self._problem(path, "one_of holds lists of two settings or more")
            for name in names:
                self._check_setting(path, name)
            found.append(names)
        return tuple(found)

    def _problem(self, path: ValuePath, message: str) -> None:
        self._section.problems.append(self._section.document.problem(path, message))

    def _check_setting(self, path: ValuePath, name: str) -> None:
        if name not in self._names:
            known = ", ".join(sorted(self._names)) or "none"
            self._problem(path, f"there is no setting {name!r}; known are {known}")

    # Templates.

    def _text(self, section: Section, key: str) -> Text:
        return self.parse(section.text(key), (*section.path, key))

    def parse(self, source: str, path: ValuePath) -> Text:
        """Parse a template and check what it mentions."""
        document = self._section.document
        try:
            text = Text.parse(source, functions=EXTRA_FUNCTIONS, variables=VARIABLES)
        except TemplateError as error:
            place = document.position_after(path, source[: error.offset])
            place = place or document.position(path)
            problem = Problem(document.file, place.line, place.column, str(error))
            self._section.problems.append(problem)
            return Text("")
        for variable, field in sorted(body.variables_in(text.tree) if text.tree else ()):
            if variable == "$settings" and field:
                self._check_setting(path, field)
        return text

    def _texts(self, section: Section, key: str) -> tuple[tuple[str, Text], ...]:
        inner = section.open_section(key)
        if inner is None:
            return ()
        return tuple((name, self._text(inner, name)) for name in inner.data)

    def _signature(self) -> Signature | None:
        section = self._section.section("signature", _SIGNATURE_KEYS)
        if section is None:
            return None
        section.required_text("key")
        return Signature(
            self._text(section, "when"), self._text(section, "key"), self._text(section, "message")
        )

    # Requests.

    def _requests(self) -> tuple[RequestDefinition, ...]:
        sections = self._section.sections("requests", _REQUEST_KEYS, "a request")
        return tuple(self._request(section) for section in sections)

    def _request(self, section: Section) -> RequestDefinition:
        section.required_text("url")
        url = self._text(section, "url")
        contents = [key for key in ("json", "form", "text") if key in section.data]
        if len(contents) > 1:
            section.report(contents[1], f"a request has one of {', '.join(contents)}, not several")
        names, is_from_data = self._address(url.source)
        return RequestDefinition(
            method=self._method(section),
            url=url,
            status=self._status(section),
            condition=self._text(section, "if") if section.has("if") else None,
            for_each_alert=self._is_for_each(section),
            query=self._texts(section, "query"),
            headers=self._texts(section, "headers"),
            content=_content(contents),
            body=self._body(section, contents),
            address_settings=names,
            is_address_from_data=is_from_data,
        )

    def _method(self, section: Section) -> str:
        method = section.text("method", "POST")
        if method not in _METHODS:
            section.report("method", f"method must be one of {', '.join(_METHODS)}")
        return method

    def _status(self, section: Section) -> Literal["", "firing", "resolved"]:
        match section.text("when"):
            case "":
                return ""
            case "firing":
                return "firing"
            case "resolved":
                return "resolved"
            case other:
                section.report("when", f"when must be 'firing' or 'resolved', not {other!r}")
                return ""

    def _is_for_each(self, section: Section) -> bool:
        wanted = section.text("for_each")
        if wanted not in ("", "alert"):
            section.report("for_each", f"for_each must be 'alert', not {wanted!r}")
        return bool(wanted)

    def _body(self, section: Section, contents: Sequence[str]) -> body.Tree:
        if not contents:
            return None
        key = contents[0]
        path = (*section.path, key)
        if key == "text":
            return self._text(section, key)
        tree = read_tree(section.data[key], path, self.parse, self._problem)
        for name in body.settings_in(tree):
            self._check_setting(path, name)
        if key == "form" and not isinstance(tree, body.Fields):
            section.report(key, "a form is a mapping of texts")
        return tree

    def _address(self, url: str) -> tuple[tuple[str, ...], bool]:
        """Return the settings that the host comes out of, and whether data of alerts does."""
        match = _ADDRESS.match(url)
        region = url if match is None else match[1] or match[2] or ""
        region = _JOIN_PATH.sub(r"\1", region)  # what follows the first argument is path
        names = tuple(dict.fromkeys(_SETTING.findall(region)))
        return names, _DATA.search(_SETTING.sub("", region)) is not None

    # Answers.

    def _answer(self) -> AnswerDefinition:
        section = self._section.section("answer", _ANSWER_KEYS)
        if section is None:
            return AnswerDefinition()
        accepted = section.sections("accepted", Keys(_TEST_KEYS), "a test")
        refusals = section.sections("refusals", _REFUSAL_KEYS, "a refusal")
        usual = AnswerDefinition()
        return AnswerDefinition(
            tuple(map(self._test, accepted)) or usual.accepted,
            tuple(map(self._refusal, refusals)),
            self._pointers(section, "retry_after"),
            self._pointers(section, "message"),
        )

    def _test(self, section: Section) -> AnswerTest:
        if not set(section.data) & set(_TEST_KEYS):
            section.report(None, f"a test says at least one of {', '.join(_TEST_KEYS)}")
        json = section.open_section("json")
        values: list[tuple[str, tuple[object, ...]]] = []
        for pointer, wanted in json.data.items() if json is not None else ():
            self._check_pointer((*section.path, "json", pointer), pointer)
            values.append((pointer, tuple(wanted) if isinstance(wanted, list) else (wanted,)))
        return AnswerTest(
            self._statuses(section),
            section.text("text") if section.has("text") else None,
            section.text("contains"),
            tuple(values),
        )

    def _statuses(self, section: Section) -> tuple[int, ...]:
        found: list[int] = []
        for text in section.texts("status"):
            if re.fullmatch("[1-5]xx", text):
                found.append(int(text[0]))
            elif re.fullmatch("[1-5][0-9]{2}", text):
                found.append(int(text))
            else:
                section.report("status", f"{text!r} is no HTTP status, such as 204 or 2xx")
        return tuple(found)

    def _refusal(self, section: Section) -> Refusal:
        reason = section.text("reason", "refused")
        if reason not in _REASONS:
            section.report("reason", f"reason must be one of {', '.join(_REASONS)}")
            reason = "refused"
        wait_s = section.duration("wait", 0.0) if section.has("wait") else None
        return Refusal(
            self._test(section),
            section.flag("retry", default=False),
            wait_s,
            FailureReason(reason),
        )

    def _pointers(self, section: Section, key: str) -> tuple[str, ...]:
        pointers = tuple(section.texts(key))
        for index, pointer in enumerate(pointers):
            self._check_pointer((*section.path, key, index), pointer)
        return pointers

    def _check_pointer(self, path: ValuePath, pointer: str) -> None:
        if not pointer.startswith("/"):
            self._problem(path, f"{pointer!r} is no JSON pointer: it begins with /")

    # Limits.

    def _body_limit(self) -> BodyLimit | None:
        section = self._section.section("body_limit", _LIMIT_KEYS)
        if section is None:
            return None
        size = section.count("bytes")
        if not size:
            section.report("bytes", "bytes must be 1 or more")
        shorten, omit = tuple(section.texts("shorten")), tuple(section.texts("omit"))
        for name in (*shorten, *omit):
            self._check_setting((*section.path, "shorten" if name in shorten else "omit"), name)
        return BodyLimit(size, shorten, omit)

    def _pace(self) -> tuple[Pace, ...]:
        found: list[Pace] = []
        for section in self._section.sections("pace", _PACE_KEYS, "a pace"):
            requests = section.count("requests")
            if not requests:
                section.report("requests", "requests must be 1 or more")
            section.required_text("per")
            found.append(Pace(max(1, requests), section.positive_duration("per", 1.0)))
        return tuple(found)


def _content(contents: Sequence[str]) -> Literal["json", "form", "text"]:
    match contents:
        case ["form", *_]:
            return "form"
        case ["text", *_]:
            return "text"
        case _:
            return "json"
