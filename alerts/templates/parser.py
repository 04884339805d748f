"""Parses templates; whether functions and variables exist is known when the text is.

Source: Go, text/template/parse/parse.go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from alerts.templates import nodes
from alerts.templates.errors import TemplateError
from alerts.templates.lexer import Kind, Token, lex
from alerts.templates.literals import parse_number, unquote, unquote_char

_MAX_DEPTH: Final = 60
_CONSTANTS: Final = (nodes.Boolean, nodes.Dot, nodes.Nil, nodes.Number, nodes.String)
_OPERANDS: Final = frozenset(
    [
        Kind.BOOL,
        Kind.CHAR,
        Kind.DOT,
        Kind.FIELD,
        Kind.WORD,
        Kind.NUMBER,
        Kind.NIL,
        Kind.STRING,
        Kind.VARIABLE,
        Kind.LEFT,
    ]
)


def parse_template(
    source: str, *, functions: Collection[str], variables: Iterable[str] = ()
) -> nodes.Tree:
    """Parse a template.

    Args:
        source: The text.
        functions: The names of the functions there are.
        variables: The names of the variables, with ``$``, that are set from the beginning.

    Raises:
        TemplateError: It is no template, or calls or mentions what does not exist.
    """
    return _Parser(source, functions, ["$", *variables]).tree()


class _Parser:
    def __init__(self, source: str, functions: Collection[str], variables: list[str]) -> None:
        self._source = source
        self._functions = functions
        self._variables = variables
        self._tokens = lex(source)
        self._ahead: list[Token] = []
        self._defined: dict[str, tuple[nodes.Node, ...]] = {}
        self._called: set[str] = set()
        self._ranges = 0
        self._depth = 0

    # Tokens.

    def _next(self) -> Token:
        return self._ahead.pop() if self._ahead else next(self._tokens)

    def _back(self, *tokens: Token) -> None:
        self._ahead.extend(reversed(tokens))

    def _peek(self) -> Token:
        token = self._next()
        self._back(token)
        return token

    def _next_token(self) -> Token:
        while (token := self._next()).kind is Kind.SPACE:
            pass
        return token

    def _peek_token(self) -> Token:
        token = self._next_token()
        self._back(token)
        return token

    def _expect_close(self, context: str) -> None:
        token = self._next_token()
        if token.kind is not Kind.CLOSE:
            raise TemplateError(f"{token} is unexpected in {context}", token.offset)

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise TemplateError(f"more than {_MAX_DEPTH} levels are nested", token.offset)

    # Texts and actions.

    def tree(self) -> nodes.Tree:
        body: list[nodes.Node] = []
        while (token := self._next_token()).kind is not Kind.END:
            if token.kind is Kind.OPEN and _is_keyword(self._peek_token(), "define"):
                self._next_token()
                self._define()
                continue
            self._back(token)
            node, ended_by = self._node()
            if ended_by is not None:
                raise TemplateError(f"{ended_by} has nothing to belong to", ended_by.offset)
            if node is not None:
                body.append(node)
        return nodes.Tree(self._source, tuple(body), self._defined, frozenset(self._called))

    def _define(self) -> None:
        token, name = self._template_name("define")
        self._expect_close("define")
        self._add(name, self._separate_body(token, "define"), token)

    def _separate_body(self, token: Token, context: str) -> tuple[nodes.Node, ...]:
        """Parse the body of a template of its own: variables from around it are not seen."""
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, ended_by = self._list(token)
        if ended_by.text != "end":
            raise TemplateError(f"{ended_by} is unexpected in {context}", ended_by.offset)
        self._expect_close("end")
        self._variables, self._ranges = outer, ranges
        return body

    def _add(self, name: str, body: tuple[nodes.Node, ...], token: Token) -> None:
        known = self._defined.get(name)
        if known is None or not _has_content(known):
            self._defined[name] = body
        elif _has_content(body):
            raise TemplateError(f"the template {name!r} is defined twice", token.offset)

    def _list(self, opened_by: Token) -> tuple[tuple[nodes.Node, ...], Token]:
        """Return the nodes up to ``end`` or ``else``, and that token."""
        self._deeper(opened_by)
        body: list[nodes.Node] = []
        while self._peek_token().kind is not Kind.END:
            node, ended_by = self._node()
            if ended_by is not None:
                self._depth -= 1
                return tuple(body), ended_by
            if node is not None:
                body.append(node)
        raise TemplateError(f"{opened_by} has no end: {{{{end}}}} is missing", opened_by.offset)

    def _node(self) -> tuple[nodes.Node | None, Token | None]:
        """Return the next node; or the ``end`` or ``else`` that was there instead."""
        token = self._next_token()
        if token.kind is Kind.TEXT:
            return nodes.Text(token.text, token.offset), None
        if token.kind is not Kind.OPEN:
            raise TemplateError(f"{token} is unexpected", token.offset)
        first = self._next_token()
        if first.kind is not Kind.KEYWORD:
            self._back(first)
            pipeline = self._pipeline("command", Kind.CLOSE)
            return nodes.Action(pipeline, first.offset), None
        if first.text in ("end", "else"):
            return None, first
        return self._control(first), None

    def _control(self, keyword: Token) -> nodes.Node:
        match keyword.text:
            case "if" | "with" | "range":
                return self._branch(keyword)
            case "break" | "continue":
                return self._jump(keyword)
            case "template":
                return self._call()
            case "block":
                return self._block()
            case _:
                message = f"{keyword.text} must stand outside of everything else"
                raise TemplateError(message, keyword.offset)

    def _jump(self, keyword: Token) -> nodes.Jump:
        self._expect_close(keyword.text)
        if not self._ranges:
            raise TemplateError(f"{keyword.text} is outside of any range", keyword.offset)
        return nodes.Jump(keyword.text, keyword.offset)

    def _branch(self, keyword: Token) -> nodes.Branch:
        known = len(self._variables)
        self._deeper(keyword)
        pipeline = self._pipeline(keyword.text, Kind.CLOSE)
        self._ranges += keyword.text == "range"
        body, ended_by = self._list(keyword)
        self._ranges -= keyword.text == "range"
        otherwise: tuple[nodes.Node, ...] = ()
        if ended_by.text == "end":
            self._expect_close("end")
        else:
            otherwise = self._otherwise(keyword)
        del self._variables[known:]
        self._depth -= 1
        return nodes.Branch(keyword.text, pipeline, body, otherwise, pipeline.offset)

    def _otherwise(self, keyword: Token) -> tuple[nodes.Node, ...]:
        chained = self._next_token()
        if keyword.text in ("if", "with") and _is_keyword(chained, keyword.text):
            return (self._branch(chained),)
        self._back(chained)
        self._expect_close("else")
        body, ended_by = self._list(keyword)
        if ended_by.text != "end":
            raise TemplateError("a second else; end is expected", ended_by.offset)
        self._expect_close("end")
        return body

    def _call(self) -> nodes.Call:
        token, name = self._template_name("template")
        following = self._next_token()
        if following.kind is Kind.CLOSE:
            return nodes.Call(name, None, token.offset)
        self._back(following)
        return nodes.Call(name, self._pipeline("template", Kind.CLOSE), token.offset)

    def _block(self) -> nodes.Call:
        token, name = self._template_name("block")
        pipeline = self._pipeline("block", Kind.CLOSE)
        self._add(name, self._separate_body(token, "block"), token)
        return nodes.Call(name, pipeline, token.offset)

    def _template_name(self, context: str) -> tuple[Token, str]:
        token = self._next_token()
        if token.kind is not Kind.STRING:
            message = f"{context} needs the name of a template in quotes, not {token}"
            raise TemplateError(message, token.offset)
        return token, _unquoted(token)

    # Pipelines.

    def _pipeline(self, context: str, end: Kind) -> nodes.Pipeline:
        start = self._peek_token()
        variables, is_assignment = self._declarations(context)
        commands: list[nodes.Command] = []
        while (token := self._next_token()).kind is not end:
            if token.kind not in _OPERANDS:
                raise TemplateError(f"{token} is unexpected in {context}", token.offset)
            self._back(token)
            commands.append(self._command())
        if not commands:
            raise TemplateError(f"a value is missing for {context}", start.offset)
        for command in commands[1:]:
            if isinstance(command.arguments[0], _CONSTANTS):
                message = f"nothing can be piped into {command.arguments[0]}: it is no function"
                raise TemplateError(message, command.offset)
        return nodes.Pipeline(tuple(commands), start.offset, variables, is_assignment)

    def _declarations(self, context: str) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        while (variable := self._next_token()).kind is Kind.VARIABLE:
            skipped = self._next()
            sign = skipped if skipped.kind is not Kind.SPACE else self._next_token()
            if sign.kind in (Kind.ASSIGN, Kind.DECLARE):
                names.append(variable.text)
                self._variables.append(variable.text)
                return tuple(names), sign.kind is Kind.ASSIGN
            if sign.text != "," or sign.kind is not Kind.OTHER:
                self._back(variable, skipped) if skipped is sign else self._back(
                    variable, skipped, sign
                )
                return tuple(names), False
            names.append(variable.text)
            self._variables.append(variable.text)
            following = self._peek_token()
            if context != "range" or len(names) > 1:
                raise TemplateError(f"too many variables in {context}", sign.offset)
            if following.kind not in (Kind.VARIABLE, Kind.CLOSE, Kind.RIGHT):
                raise TemplateError("range can only declare variables", following.offset)
        self._back(variable)
        return tuple(names), False

    def _command(self) -> nodes.Command:
        start = self._peek_token()
        arguments: list[nodes.Operand] = []
        while True:
            operand = self._operand()
            if operand is not None:
                arguments.append(operand)
            token = self._next()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in (Kind.CLOSE, Kind.RIGHT):
                self._back(token)
            elif token.kind is not Kind.PIPE:
                raise TemplateError(f"{token} is unexpected in an operand", token.offset)
            break
        if not arguments:
            raise TemplateError("a command of a pipeline is empty", start.offset)
        return nodes.Command(tuple(arguments), start.offset)

    def _operand(self) -> nodes.Operand | None:
        node = self._term()
        if node is None:
            return None
        names: list[str] = []
        field = self._peek()
        offset = field.offset
        while (token := self._peek()).kind is Kind.FIELD:
            names.append(self._next().text[1:])
        if not names:
            return node
        match node:
            case nodes.Field():
                return nodes.Field((*node.names, *names), offset)
            case nodes.Variable():
                return nodes.Variable(node.name, (*node.names, *names), offset)
            case nodes.Identifier() | nodes.Chain() | nodes.Pipeline():
                return nodes.Chain(node, tuple(names), offset)
            case _:
                raise TemplateError(f"{node} has no fields", token.offset)

    def _term(self) -> nodes.Operand | None:
        token = self._next_token()
        match token.kind:
            case Kind.WORD:
                if token.text not in self._functions:
                    known = ", ".join(sorted(self._functions))
                    message = f"there is no function {token.text!r}; known are {known}"
                    raise TemplateError(message, token.offset)
                self._called.add(token.text)
                return nodes.Identifier(token.text, token.offset)
            case Kind.VARIABLE:
                if token.text not in self._variables:
                    known = ", ".join(sorted(self._variables))
                    message = f"there is no {token.text}; known are {known}"
                    raise TemplateError(message, token.offset)
                return nodes.Variable(token.text, (), token.offset)
            case Kind.LEFT:
                self._deeper(token)
                pipeline = self._pipeline("a parenthesis", Kind.RIGHT)
                self._depth -= 1
                return pipeline
            case _:
                return self._literal(token)

    def _literal(self, token: Token) -> nodes.Operand | None:
        match token.kind:
            case Kind.DOT:
                return nodes.Dot(token.offset)
            case Kind.NIL:
                return nodes.Nil(token.offset)
            case Kind.FIELD:
                return nodes.Field((token.text[1:],), token.offset)
            case Kind.BOOL | Kind.NUMBER | Kind.CHAR | Kind.STRING:
                return _constant(token)
            case _:
                self._back(token)
                return None


def _is_keyword(token: Token, text: str) -> bool:
    return token.kind is Kind.KEYWORD and token.text == text


def _unquoted(token: Token) -> str:
    try:
        return unquote(token.text)
    except ValueError as error:
        raise TemplateError(str(error), token.offset) from error


def _constant(token: Token) -> nodes.Boolean | nodes.Number | nodes.String:
    if token.kind is Kind.BOOL:
        return nodes.Boolean(token.text == "true", token.offset)
    if token.kind is Kind.STRING:
        return nodes.String(_unquoted(token), token.text, token.offset)
    try:
        if token.kind is Kind.CHAR:
            point = unquote_char(token.text)
            return nodes.Number(token.text, point, float(point), False, token.offset)
        integer, real, is_real = parse_number(token.text)
    except ValueError as error:
        raise TemplateError(str(error), token.offset) from error
    return nodes.Number(token.text, integer, real, is_real, token.offset)


def _has_content(body: tuple[nodes.Node, ...]) -> bool:
    return any(not isinstance(node, nodes.Text) or node.text.strip() for node in body)
