"""Label matchers as Alertmanager writes them, in both of its syntaxes.

The UTF-8 syntax reads names and values in quotes with Go's escapes; the classic one takes names of
ASCII letters only, but almost anything as a value. Alertmanager tries both: what one alone accepts
is read by it, and where both accept but disagree the classic reading holds.

Source: Alertmanager, matcher/compat/parse.go, matcher/parse/ and pkg/labels/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from alerts.errors import AlertsError
from alerts.series.matchers import Matcher, MatchOp
from alerts.templates.gofmt import sprintf
from alerts.templates.literals import unquote

_BLANKS: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # unicode.IsSpace
)
_RESERVED: Final = _BLANKS + "{}!=~,\\\\\"'`"
_IS_RESERVED: Final = re.compile(f"[{_RESERVED}]")
_TOKEN: Final = re.compile(
    rf"""(?P<blank>[{_BLANKS}]+)
    |(?P<open>\{{)
    |(?P<close>\}})
    |(?P<comma>,)
    |(?P<operator>=~|!=|!~|=)
    |(?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<plain>[^{_RESERVED}]+)""",
    re.VERBOSE | re.DOTALL,
)
_TRIMMED: Final = "".join(
    letter for letter in map(chr, range(0x3001)) if re.match(f"[{_BLANKS}]", letter)
)
_CLASSIC_BLANKS: Final = "\t\n\f\r "
_CLASSIC: Final = re.compile(
    rf"[{_CLASSIC_BLANKS}]*([a-zA-Z_:][a-zA-Z0-9_:]*)[{_CLASSIC_BLANKS}]*(=~|=|!=|!~)"
)
_CLASSIC_ESCAPE: Final = re.compile(r'\\([n"\\])')
_OPS: Final = tuple(MatchOp)


class MatcherError(AlertsError, ValueError):
    """A text that is no label matcher.

    Attributes:
        message: What is wrong and what would be right.
        offset: 0-based character of the text where the trouble is.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        self.message = message
        self.offset = offset
        super().__init__(f"{message} (character {offset + 1})")


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read any number of matchers, such as ``a="b", c=~"d|e"``, with or without braces.

    Raises:
        MatcherError: Neither syntax allows the text.
    """
    try:
        matchers = _Parser(text).parse()
    except MatcherError as error:
        try:
            return _parse_classic(text)
        except MatcherError:
            # The newer parser knows the place, and its syntax is the one to write.
            raise error from None
    try:
        return _parse_classic(text)
    except MatcherError:
        return matchers


def parse_matcher(text: str) -> Matcher:
    """Read one matcher, without braces, such as the one of a filter.

    Raises:
        MatcherError: The text is none, or more than one.
    """
    if text.startswith("{") or text.endswith("}"):
        raise MatcherError("a single matcher stands without braces")
    matchers = parse_matchers(text)
    if len(matchers) != 1:
        raise MatcherError(f"there are {len(matchers)} matchers here; one is expected")
    return matchers[0]


def format_matcher(matcher: Matcher) -> str:
    """Return a matcher as Alertmanager prints it; ``parse_matcher`` reads it again."""
    if not matcher.name or _IS_RESERVED.search(matcher.name):
        return f"{_quoted(matcher.name)}{matcher.op}{_quoted(matcher.value)}"
    return str(matcher)


def format_matchers(matchers: Iterable[Matcher]) -> str:
    """Return matchers in braces, as they stand in the keys of groups; order is kept."""
    return f"{{{','.join(map(format_matcher, matchers))}}}"


def sort_matchers(matchers: Iterable[Matcher]) -> tuple[Matcher, ...]:
    """Return matchers in Alertmanager's order: by name, by value, then ``=``, ``!=``, ``=~``."""
    return tuple(
        sorted(
            matchers,
            key=lambda matcher: (
                matcher.name.encode("utf-8", "surrogatepass"),
                matcher.value.encode("utf-8", "surrogatepass"),
                _OPS.index(matcher.op),
            ),
        )
    )


def is_label_name(name: str) -> bool:
    """Whether a text can be the name of a label: not empty, and UTF-8 can hold it."""
    return bool(name) and _is_utf8(name)


def _quoted(text: str) -> str:
    return sprintf("%q", (text,))


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _matcher(name: str, operator: str, value: str, offset: int) -> Matcher:
    try:
        return Matcher(MatchOp(operator), name, value)
    except ValueError as error:
        raise MatcherError(str(error), offset) from None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int


class _Parser:
    """Reads the UTF-8 syntax: ``[{] [matcher {, matcher} [,]] [}]``."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def parse(self) -> tuple[Matcher, ...]:
        """Return the matchers.

        Raises:
            MatcherError: The text is not of this syntax.
        """
        is_open = self._accept("open") is not None
        matchers: list[Matcher] = []
        while self._peek().kind not in ("close", "end"):
            matchers.append(self._matcher())
            if self._accept("comma") is None and self._peek().kind not in ("close", "end"):
                raise self._unexpected("a comma or the end")
        closing = self._accept("close")
        if is_open and closing is None:
            raise self._unexpected("a closing brace")
        if closing is not None and not is_open:
            raise MatcherError("the closing brace has no opening brace", closing.offset)
        if self._peek().kind != "end":
            raise self._unexpected("the end")
        return tuple(matchers)

    def _matcher(self) -> Matcher:
        name = self._accept("quoted", "plain")
        if name is None:
            raise self._unexpected("the name of a label")
        operator = self._accept("operator")
        if operator is None:
            raise self._unexpected("an operator, = != =~ or !~,")
        value = self._accept("quoted", "plain")
        if value is None:
            raise self._unexpected('a value (the empty one is "")')
        return _matcher(_meaning(name), operator.text, _meaning(value), value.offset)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _accept(self, *kinds: str) -> _Token | None:
        token = self._peek()
        if token.kind not in kinds:
            return None
        self._next += 1
        return token

    def _unexpected(self, wanted: str) -> MatcherError:
        token = self._peek()
        found = "the text ends" if token.kind == "end" else f"{token.text!r} stands"
        return MatcherError(f"{found} where {wanted} is expected", token.offset)


def _tokens(text: str) -> list[_Token]:
    """Return the tokens of a text and one of the kind ``end``."""
    tokens: list[_Token] = []
    offset = 0
    while offset < len(text):
        found = _TOKEN.match(text, offset)
        if found is None:
            raise _bad_character(text, offset)
        if found.lastgroup is not None and found.lastgroup != "blank":
            tokens.append(_Token(found.lastgroup, found[0], offset))
        offset = found.end()
    return [*tokens, _Token("end", "", len(text))]


def _bad_character(text: str, offset: int) -> MatcherError:
    match text[offset]:
        case '"':
            return MatcherError("the quoted text has no closing quote", offset)
        case "!" | "~":
            return MatcherError("the operators are = != =~ and !~", offset)
        case letter:
            message = f"{letter!r} is only allowed inside double quotes"
            return MatcherError(message, offset)


def _meaning(token: _Token) -> str:
    """Return what a name or a value stands for."""
    if token.kind == "plain":
        text = token.text
    elif "\n" in token.text:
        message = r"a quoted text ends on its line; a line break is written \n"
        raise MatcherError(message, token.offset)
    else:
        try:
            text = unquote(token.text)
        except ValueError as error:
            raise MatcherError(f"{error}; a backslash is written \\\\", token.offset) from None
    if not _is_utf8(text):
        raise MatcherError("this is not UTF-8 text", token.offset)
    return text


def _parse_classic(text: str) -> tuple[Matcher, ...]:
    *parts, last = _split_classic(text.removeprefix("{").removesuffix("}"))
    if last := last.strip(_TRIMMED):
        parts.append(last)
    return tuple(_classic_matcher(part) for part in parts)


def _split_classic(text: str) -> list[str]:
    """Return what stands between the commas that are outside of quotes."""
    parts: list[str] = []
    begin = 0
    is_quoted = is_escaped = False
    for offset, letter in enumerate(text):
        if letter == ",":
            # Alertmanager lets an escape reach over a comma; so what it reads is read here.
            if not is_quoted:
                parts.append(text[begin:offset])
                begin = offset + 1
        elif letter == "\\":
            is_escaped = not is_escaped
        else:
            is_quoted ^= letter == '"' and not is_escaped
            is_escaped = False
    return [*parts, text[begin:]]


def _classic_matcher(text: str) -> Matcher:
    found = _CLASSIC.match(text)
    if found is None:
        raise MatcherError(f"{text!r} is no matcher")
    name, operator = found.groups()
    raw = text[found.end() :].strip(_CLASSIC_BLANKS)
    if raw.startswith('"'):
        if len(raw) < 2 or not raw.endswith('"') or _ends_escaped(raw[1:-1]):
            raise MatcherError(f"the value {raw} has no closing quote")
        raw = raw[1:-1]
    if '"' in _CLASSIC_ESCAPE.sub("", raw) or not _is_utf8(raw):
        raise MatcherError(f"the value {raw} holds a quote that is not escaped")
    value = _CLASSIC_ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], raw)
    return _matcher(name, operator, value, 0)


def _ends_escaped(text: str) -> bool:
    """Whether what comes next would be escaped: an odd number of backslashes at the end."""
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1
