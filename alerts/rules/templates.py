"""The texts of labels and annotations: Go templates, as far as alert rules use them.

Covered: ``$labels``, ``$value``, ``$externalLabels``, ``$externalURL`` and the same with a dot
(``.Labels`` ...), fields of label sets, string and number literals, pipelines, the functions of
``template_functions``, comments and the trim markers ``{{-`` and ``-}}``. Everything else of Go
templates is refused when the rule file is loaded, by name.

Source: Prometheus, template/template.go; Go, package text/template.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from alerts.errors import AlertsError
from alerts.rules.gofmt import Value, format_value
from alerts.rules.template_functions import FUNCTIONS, UNSUPPORTED_FUNCTIONS, TemplateFunction
from alerts.series.labels import Labels


class TemplateError(AlertsError):
    """A template that cannot be parsed or expanded.

    Attributes:
        offset: Index of the character in the template where it goes wrong.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class TemplateData:
    """What a template can refer to."""

    labels: Labels
    value: float
    external_labels: Labels = field(default_factory=Labels)
    external_url: str = ""


@dataclass(frozen=True, slots=True)
class _Literal:
    value: Value

    def get(self, data: TemplateData) -> Value:
        return self.value


@dataclass(frozen=True, slots=True)
class _Reference:
    attribute: str
    label: str | None

    def get(self, data: TemplateData) -> Value:
        value: Value = getattr(data, self.attribute)
        if self.label is None:
            return value
        return value.get(self.label, "") if isinstance(value, Labels) else ""


_Operand = _Literal | _Reference


@dataclass(frozen=True, slots=True)
class _Call:
    """One command of a pipeline; the value of the command before is its last argument."""

    function: TemplateFunction | None
    arguments: tuple[_Operand, ...]

    def get(self, data: TemplateData, piped: tuple[Value, ...]) -> Value:
        arguments = (*(argument.get(data) for argument in self.arguments), *piped)
        return arguments[0] if self.function is None else self.function.call(arguments)


_Pipeline = tuple[_Call, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template; ``parse`` once, ``expand`` for every alert.

    Attributes:
        source: The text as it was written.
        parts: Plain texts and pipelines, in order.
    """

    source: str
    parts: tuple[str | _Pipeline, ...]

    @classmethod
    def parse(cls, source: str) -> Template:
        """Parse a template.

        Raises:
            TemplateError: It is no Go template, or uses something that is not covered.
        """
        if "{{" not in source:
            return cls(source, (source,) if source else ())
        return cls(source, tuple(part for part in _split(source) if part))

    def expand(self, data: TemplateData) -> str:
        """Return the text for an alert; what goes wrong is said in the text, as Prometheus does."""
        try:
            return "".join(
                part if isinstance(part, str) else format_value(_run(part, data))
                for part in self.parts
            )
        except ValueError as error:
            return f"<error expanding template: {error}>"


def _run(pipeline: _Pipeline, data: TemplateData) -> Value:
    piped: tuple[Value, ...] = ()
    for call in pipeline:
        piped = (call.get(data, piped),)
    return piped[0]


_ACTION: Final = re.compile(r"\{\{(?P<trim_left>-(?=\s))?")
_SPACE: Final = " \t\r\n"


def _split(source: str) -> list[str | _Pipeline]:
    """Split a template into plain texts and parsed actions."""
    parts: list[str | _Pipeline] = []
    position = 0
    trim_next = False
    while (opening := _ACTION.search(source, position)) is not None:
        text = source[position : opening.start()]
        if trim_next:
            text = text.lstrip(_SPACE)
        if opening["trim_left"]:
            text = text.rstrip(_SPACE)
        parts.append(text)
        comment_end = _comment_end(source, opening.end())
        tokens, position, trim_next = _lex(source, comment_end or opening.end())
        if comment_end is None:
            parts.append(_Parser(tokens, opening.start()).pipeline())
        elif tokens:
            raise TemplateError("a comment must fill its action alone", opening.start())
    rest = source[position:]
    parts.append(rest.lstrip(_SPACE) if trim_next else rest)
    return parts


def _comment_end(source: str, start: int) -> int | None:
    begin = start + len(source[start:]) - len(source[start:].lstrip(_SPACE))
    if not source.startswith("/*", begin):
        return None
    end = source.find("*/", begin)
    if end < 0:
        raise TemplateError("the comment has no end: */ is missing", begin)
    return end + 2


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<close>\}\})
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<raw>`[^`]*`)
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.]))
    |(?P<variable>\$\w*(?:\.\w+)*)
    |(?P<field>\.\w+(?:\.\w+)*)
    |(?P<word>\w+)
    |(?P<pipe>\|)
    |(?P<other>:=|=|.)""",
    re.VERBOSE | re.DOTALL,
)
_TRIM_CLOSE: Final = re.compile(r"\s+-\}\}")


def _lex(source: str, start: int) -> tuple[list[_Token], int, bool]:
    """Return the tokens of an action, where the text goes on, and whether that is trimmed."""
    tokens: list[_Token] = []
    position = start
    while position < len(source):
        trim = _TRIM_CLOSE.match(source, position)
        if trim is not None:
            return tokens, trim.end(), True
        match = _TOKEN.match(source, position)
        if match is None:
            break
        kind = match.lastgroup or "other"
        if kind == "close":
            return tokens, match.end(), False
        if kind != "space":
            tokens.append(_Token(kind, match[0], position))
        position = match.end()
    raise TemplateError("an action has no end: }} is missing", start)


_KEYWORDS: Final = frozenset(
    [
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "nil",
    ]
)
_ROOTS: Final = {
    "$labels": "labels",
    "$value": "value",
    "$externalLabels": "external_labels",
    "$externalURL": "external_url",
    ".Labels": "labels",
    ".Value": "value",
    ".ExternalLabels": "external_labels",
    ".ExternalURL": "external_url",
}
_LABEL_SETS: Final = ("labels", "external_labels")


class _Parser:
    """Recursive descent over the tokens of one action."""

    def __init__(self, tokens: list[_Token], offset: int) -> None:
        self._tokens = tokens
        self._offset = offset

    def pipeline(self) -> _Pipeline:
        """Pipeline = command { "|" command }."""
        commands: list[list[_Token]] = [[]]
        for token in self._tokens:
            if token.kind == "pipe":
                commands.append([])
            else:
                commands[-1].append(token)
        return tuple(
            self._command(tokens, is_first=index == 0) for index, tokens in enumerate(commands)
        )

    def _command(self, tokens: list[_Token], *, is_first: bool) -> _Call:
        """Command = operand | function { operand }."""
        if not tokens:
            what = "an action" if is_first else "a command of a pipeline"
            raise TemplateError(f"{what} is empty", self._offset)
        head, *rest = tokens
        if head.kind == "word" and head.text not in ("true", "false"):
            function = _function(head)
            arguments = tuple(_operand(token) for token in rest)
            given = len(arguments) + (not is_first)
            if problem := function.arity_problem(given):
                raise TemplateError(f"{head.text} {problem}", head.offset)
            return _Call(function, arguments)
        operand = _operand(head)
        if rest:
            raise TemplateError(
                f"{head.text} is no function: it cannot be followed by {rest[0].text!r}",
                rest[0].offset,
            )
        if not is_first:
            raise TemplateError(
                f"{head.text} is no function: nothing can be piped into it", head.offset
            )
        return _Call(None, (operand,))


def _function(token: _Token) -> TemplateFunction:
    function = FUNCTIONS.get(token.text)
    if function is not None:
        return function
    if token.text in _KEYWORDS:
        raise TemplateError(f"{token.text!r} is not supported yet in templates", token.offset)
    if token.text in UNSUPPORTED_FUNCTIONS:
        raise TemplateError(f"the function {token.text!r} is not supported yet", token.offset)
    known = ", ".join(sorted(FUNCTIONS))
    raise TemplateError(f"there is no function {token.text!r}; known are {known}", token.offset)


def _operand(token: _Token) -> _Operand:
    match token.kind:
        case "string":
            return _Literal(_unquote(token))
        case "raw":
            return _Literal(token.text[1:-1])
        case "number":
            return _Literal(_number(token.text))
        case "variable" | "field":
            return _reference(token)
        case "word" if token.text in ("true", "false"):
            return _Literal(token.text == "true")
        case "word":
            raise TemplateError(
                f"{token.text!r} cannot be an argument: write a value, a text in quotes, "
                "or pass it on with |",
                token.offset,
            )
        case _ if token.text in ("(", ")"):
            raise TemplateError("parentheses are not supported yet in templates", token.offset)
        case _ if token.text in (":=", "="):
            raise TemplateError("variables of your own are not supported yet", token.offset)
        case _ if token.text == ".":
            raise TemplateError("a bare . is not supported yet in templates", token.offset)
        case _:
            raise TemplateError(f"{token.text!r} is unexpected here", token.offset)


def _reference(token: _Token) -> _Reference:
    separator = "." if token.kind == "variable" else None
    if separator:
        root, *fields = token.text.split(".")
    else:
        _, first, *fields = token.text.split(".")
        root = f".{first}"
    attribute = _ROOTS.get(root)
    if attribute is None:
        known = ", ".join(name for name in _ROOTS if name[0] == root[0])
        raise TemplateError(f"there is no {root}; known are {known}", token.offset)
    if len(fields) > (attribute in _LABEL_SETS):
        raise TemplateError(f"{token.text} has no field {fields[-1]!r}", token.offset)
    return _Reference(attribute, fields[0] if fields else None)


def _unquote(token: _Token) -> str:
    try:
        return str(json.loads(token.text))
    except ValueError as error:
        raise TemplateError(
            f"{token.text} has an escape that is not supported; known are "
            r"\" \\ \/ \b \f \n \r \t and \u with four hex digits",
            token.offset,
        ) from error


def _number(text: str) -> float | int:
    try:
        return int(text, 0)
    except ValueError:
        return float(text)
