"""Runs a parsed template over data, with the errors Go gives.

Source: Go, text/template/exec.go, option ``missingkey=zero``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from alerts.templates import nodes
from alerts.templates.builtins import VALUE, map_entry
from alerts.templates.errors import TemplateError
from alerts.templates.gofmt import format_value, written
from alerts.templates.values import (
    ANY,
    FLOAT,
    INT,
    STRING,
    Function,
    Slice,
    Value,
    go_type,
    is_true,
    methods_of,
    to_bytes,
)

Escape = Callable[[Value, Sequence[str]], str]
"""Returns what an action writes for a value, given what was written before it."""

_MAX_DEPTH: Final = 40
_MAX_STEPS: Final = 1_000_000
_MAX_LENGTH: Final = 4_000_000
_NO_ARGUMENT: Final = object()


class _Break(Exception):  # noqa: N818 - control flow, no error
    """Leaves the range around it."""


class _Continue(Exception):  # noqa: N818 - control flow, no error
    """Goes on with the next item of the range around it."""


def execute(
    tree: nodes.Tree,
    dot: Value,
    *,
    functions: Mapping[str, Function],
    variables: Mapping[str, Value],
    name: str = "",
    column_offset: int = 0,
    library: Mapping[str, nodes.Definition] | None = None,
    escape: Escape | None = None,
) -> str:
    """Return what a template comes to.

    Args:
        tree: The template.
        dot: Its ``.``.
        functions: The functions by name.
        variables: The variables that are set from the beginning, with ``$``.
        name: What errors call it.
        column_offset: Added to the column of errors in the first line.
        library: Named templates besides those the template defines itself, which come first.
        escape: Makes the text of a value; None: as it is.

    Raises:
        TemplateError: Something goes wrong; the text is the one Go has.
    """
    state = _State(tree, functions, name, column_offset)
    state.library = library or {}
    state.escape = escape
    state.variables = [("$", dot), *variables.items()]
    try:
        state.walk(dot, tree.body)
    except RecursionError:
        raise state.error("exceeded maximum template depth") from None
    return "".join(state.output)


class _State:
    def __init__(
        self,
        tree: nodes.Tree,
        functions: Mapping[str, Function],
        name: str,
        column_offset: int,
    ) -> None:
        self.output: list[str] = []
        self.variables: list[tuple[str, Value]] = []
        self.library: Mapping[str, nodes.Definition] = {}
        self.escape: Escape | None = None
        self._defined = tree.defined
        self._tree = tree
        self._functions = functions
        self._file = name
        self._name = name
        self._column_offset = column_offset
        self._node: nodes.Node | nodes.Operand | nodes.Command | None = None
        self._depth = 0
        self._steps = 0
        self._length = 0

    def error(self, message: str) -> TemplateError:
        """Return an error at the node that is being worked on."""
        node = self._node
        if node is None:
            return TemplateError(f"template: {self._file}: {message}", 0)
        before = self._tree.source[: node.offset]
        line = before.count("\n") + 1
        column = len(to_bytes(before[before.rfind("\n") + 1 :]))
        if line == 1:
            column += self._column_offset
        place = f"template: {self._file}:{line}:{column}"
        text = f"{place}: executing {_quote(self._name)} at <{_shown(node)}>: {message}"
        return TemplateError(text, node.offset)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise self.error(f"more than {_MAX_STEPS} steps")

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > _MAX_LENGTH:
            raise self.error(f"more than {_MAX_LENGTH} characters")
        self.output.append(text)

    # Texts and actions.

    def walk(self, dot: Value, body: Iterable[nodes.Node]) -> None:
        for node in body:
            self._node = node
            self._step()
            match node:
                case nodes.Text():
                    self._write(node.text)
                case nodes.Action():
                    value = self._pipeline(dot, node.pipeline)
                    if not node.pipeline.variables:
                        self._node = node
                        self._write(self._written(value))
                case nodes.Branch():
                    self._branch(dot, node)
                case nodes.Call():
                    self._call_template(dot, node)
                case nodes.Jump():
                    raise _Break if node.keyword == "break" else _Continue

    def _written(self, value: Value) -> str:
        if self.escape is None:
            return written(value)
        try:
            return self.escape(value, self.output)
        except ValueError as error:
            raise self.error(str(error)) from error

    def _branch(self, dot: Value, node: nodes.Branch) -> None:
        mark = len(self.variables)
        value = self._pipeline(dot, node.pipeline)
        if node.keyword == "range":
            if not self._range(value, node):
                self.walk(dot, node.otherwise)
        elif is_true(value):
            self.walk(value if node.keyword == "with" else dot, node.body)
        else:
            self.walk(dot, node.otherwise)
        del self.variables[mark:]

    def _range(self, value: Value, node: nodes.Branch) -> bool:
        """Run the body for every item; return whether there was one."""
        found = False
        mark = len(self.variables)
        for key, item in self._items(value, node):
            found = True
            self._step()
            self._bind(node.pipeline, mark, key, item)
            try:
                self.walk(item, node.body)
            except _Break:
                break
            except _Continue:
                continue
            finally:
                del self.variables[mark:]
        return found

    def _items(self, value: Value, node: nodes.Branch) -> Iterator[tuple[Value, Value]]:
        match value:
            case None:
                return iter(())
            case bool() | str() | float():
                raise self.error(f"range can't iterate over {format_value(value)}")
            case int():
                if len(node.pipeline.variables) > 1:
                    raise self.error(f"can't use {value} to iterate over more than one variable")
                return ((None, item) for item in range(value))
            case Slice():
                return iter(list(enumerate(value.items)))
            case Mapping():
                ordered = sorted(value.items(), key=lambda entry: to_bytes(entry[0]))
                return iter([(key, map_entry(value, key)) for key, _ in ordered])
            case _:
                raise self.error(f"range can't iterate over {format_value(value)}")

    def _bind(self, pipeline: nodes.Pipeline, mark: int, key: Value, item: Value) -> None:
        names = pipeline.variables
        values = (item,) if len(names) == 1 else (key, item)
        for place, (name, value) in enumerate(zip(names, values, strict=False)):
            if pipeline.is_assignment:
                self._assign(name, value)
            else:
                self.variables[mark - len(names) + place] = (name, value)

    def _call_template(self, dot: Value, node: nodes.Call) -> None:
        body = self._defined.get(node.name)
        found = self.library.get(node.name) if body is None else None
        if found is not None:
            body = found.body
        if body is None:
            raise self.error(f"template {_quote(node.name)} not defined")
        if self._depth >= _MAX_DEPTH:
            raise self.error(f"exceeded maximum template depth ({_MAX_DEPTH})")
        value = None if node.pipeline is None else self._pipeline(dot, node.pipeline)
        outer, self.variables = self.variables, [("$", value)]
        place = self._tree, self._file, self._name, self._column_offset
        self._name = node.name
        if found is not None:
            self._tree, self._file, self._column_offset = found.tree, found.file, 0
        self._depth += 1
        self.walk(value, body)
        self._depth -= 1
        self.variables = outer
        self._tree, self._file, self._name, self._column_offset = place

    # Pipelines.

    def _pipeline(self, dot: Value, pipeline: nodes.Pipeline) -> Value:
        self._node = pipeline
        value: Value = None
        piped: object = _NO_ARGUMENT
        for command in pipeline.commands:
            value = self._command(dot, command, piped)
            piped = value
        for name in pipeline.variables:
            if pipeline.is_assignment:
                self._assign(name, value)
            else:
                self.variables.append((name, value))
        return value

    def _assign(self, name: str, value: Value) -> None:
        for place in range(len(self.variables) - 1, -1, -1):
            if self.variables[place][0] == name:
                self.variables[place] = (name, value)
                return
        raise self.error(f"undefined variable: {name}")

    def _variable(self, name: str) -> Value:
        for known, value in reversed(self.variables):
            if known == name:
                return value
        raise self.error(f"undefined variable: {name}")

    def _command(self, dot: Value, command: nodes.Command, piped: object) -> Value:
        self._step()
        first, *rest = command.arguments
        match first:
            case nodes.Identifier():
                return self._function(dot, first, command, tuple(rest), piped)
            case nodes.Field():
                self._node = first
                return self._fields(dot, dot, first.names, first, tuple(rest), piped)
            case nodes.Chain():
                inner = self._chained(dot, first)
                return self._fields(dot, inner, first.names, first, tuple(rest), piped)
            case nodes.Variable() if first.names:
                self._node = first
                value = self._variable(first.name)
                return self._fields(dot, value, first.names, first, tuple(rest), piped)
            case _:
                self._node = first
                if isinstance(first, nodes.Pipeline):
                    self._node = command
                if rest or piped is not _NO_ARGUMENT:
                    raise self.error(f"can't give argument to non-function {_shown(first)}")
                return self._operand(dot, first)

    def _chained(self, dot: Value, chain: nodes.Chain) -> Value:
        self._node = chain
        if isinstance(chain.node, nodes.Nil):
            raise self.error(f"indirection through explicit nil in {chain}")
        return self._operand(dot, chain.node)

    def _operand(self, dot: Value, node: nodes.Operand) -> Value:
        """Return the value of an operand without arguments."""
        self._node = node
        match node:
            case nodes.Boolean() | nodes.String():
                return node.value
            case nodes.Number():
                return self._constant(node)
            case nodes.Dot():
                return dot
            case nodes.Nil():
                raise self.error("nil is not a command")
            case nodes.Pipeline():
                return self._pipeline(dot, node)
            case _:
                return self._reference(dot, node)

    def _reference(
        self, dot: Value, node: nodes.Identifier | nodes.Field | nodes.Chain | nodes.Variable
    ) -> Value:
        """Return what a name stands for: a variable, a field or a function's result."""
        if isinstance(node, nodes.Identifier):
            return self._function(dot, node, node, (), _NO_ARGUMENT)
        if isinstance(node, nodes.Field):
            inner = dot
        elif isinstance(node, nodes.Chain):
            inner = self._chained(dot, node)
        else:
            inner = self._variable(node.name)
            if not node.names:
                return inner
        return self._fields(dot, inner, node.names, node, (), _NO_ARGUMENT)

    def _constant(self, node: nodes.Number) -> Value:
        if node.is_real:
            return node.real
        if node.integer is None:
            raise self.error(f"{node.source} overflows int")
        return node.integer

    def _fields(
        self,
        dot: Value,
        value: Value,
        names: tuple[str, ...],
        node: nodes.Operand,
        arguments: tuple[nodes.Operand, ...],
        piped: object,
    ) -> Value:
        for name in names[:-1]:
            value = self._field(dot, value, name, node, (), _NO_ARGUMENT)
        return self._field(dot, value, names[-1], node, arguments, piped)

    def _field(
        self,
        dot: Value,
        value: Value,
        name: str,
        node: nodes.Operand,
        arguments: tuple[nodes.Operand, ...],
        piped: object,
    ) -> Value:
        has_arguments = bool(arguments) or piped is not _NO_ARGUMENT
        match value:
            case None:
                return None
            case Mapping() | Slice():
                method = methods_of(value).get(name)
                if method is not None:
                    return self._call(dot, method, node, name, arguments, piped)
                if isinstance(value, Mapping):
                    if has_arguments:
                        raise self.error(f"{name} is not a method but has arguments")
                    return map_entry(value, name)
            case str() | int() | float():
                pass
            case _:
                method = value.methods().get(name)
                if method is not None:
                    return self._call(dot, method, node, name, arguments, piped)
                fields = value.fields()
                if name in fields:
                    if has_arguments:
                        raise self.error(f"{name} has arguments but cannot be invoked as function")
                    return fields[name]
        raise self.error(f"can't evaluate field {name} in type {go_type(value)}")

    # Functions.

    def _function(
        self,
        dot: Value,
        node: nodes.Identifier,
        command: nodes.Command | nodes.Identifier,
        arguments: tuple[nodes.Operand, ...],
        piped: object,
    ) -> Value:
        self._node = node
        function = self._functions.get(node.name)
        if function is None:
            raise self.error(f"{_quote(node.name)} is not a defined function")
        return self._call(dot, function, command, node.name, arguments, piped)

    def _call(
        self,
        dot: Value,
        function: Function,
        node: nodes.Command | nodes.Operand,
        name: str,
        arguments: tuple[nodes.Operand, ...],
        piped: object,
    ) -> Value:
        self._check_count(function, name, arguments, piped)
        if name in ("and", "or") and function.rest == VALUE:
            return self._logic(dot, name, arguments, piped)
        types = (*function.parameters, *([function.rest] * len(arguments) if function.rest else ()))
        values = [
            self._argument(dot, kind, argument)
            for kind, argument in zip(types, arguments, strict=False)
        ]
        if piped is not _NO_ARGUMENT:
            count = len(values)
            fixed = function.parameters
            kind = fixed[count] if count < len(fixed) else function.rest or ANY
            values.append(self._checked(piped, kind))  # type: ignore[arg-type]  # only the mark is no value
        if name == "call" and function.rest == VALUE:
            self._node = node
            raise self.error(_call_message(arguments, values[0]))
        try:
            result = function.call(*values)
        except (ValueError, OverflowError) as error:
            self._node = node
            raise self.error(f"error calling {name}: {error}") from error
        if isinstance(result, str) and len(result) > _MAX_LENGTH:
            raise self.error(f"error calling {name}: more than {_MAX_LENGTH} characters")
        return result

    def _check_count(
        self,
        function: Function,
        name: str,
        arguments: tuple[nodes.Operand, ...],
        piped: object,
    ) -> None:
        given = len(arguments) + (piped is not _NO_ARGUMENT)
        wanted = len(function.parameters)
        if function.rest is not None:
            if given < wanted:
                raise self.error(
                    f"wrong number of args for {name}: want at least {wanted} got {len(arguments)}"
                )
        elif given != wanted:
            raise self.error(f"wrong number of args for {name}: want {wanted} got {given}")

    def _logic(
        self, dot: Value, name: str, arguments: tuple[nodes.Operand, ...], piped: object
    ) -> Value:
        value: Value = None
        for argument in arguments:
            value = self._argument(dot, VALUE, argument)
            if is_true(value) == (name == "or"):
                return value
        return value if piped is _NO_ARGUMENT else piped  # type: ignore[return-value]  # as above

    def _argument(self, dot: Value, kind: str, node: nodes.Operand) -> Value:
        self._node = node
        match node:
            case nodes.Nil():
                if kind in (ANY, VALUE) or kind.startswith(("*", "template.query")):
                    return None
                raise self.error(f"cannot assign nil to {kind}")
            case nodes.Boolean() | nodes.String() | nodes.Number():
                return self._typed_constant(kind, node)
            case _:
                return self._checked(self._operand(dot, node), kind)

    def _typed_constant(
        self, kind: str, node: nodes.Boolean | nodes.String | nodes.Number
    ) -> Value:
        match kind:
            case "interface {}" | "reflect.Value":
                return self._operand(None, node)
            case "string":
                if isinstance(node, nodes.String):
                    return node.value
                raise self.error(f"expected string; found {node}")
            case "float64":
                if isinstance(node, nodes.Number) and node.real is not None:
                    return node.real
                raise self.error(f"expected float; found {node}")
            case "int":
                if isinstance(node, nodes.Number) and node.integer is not None:
                    return node.integer
                raise self.error(f"expected integer; found {node}")
            case _:
                raise self.error(f"can't handle {node} for arg of type {kind}")

    def _checked(self, value: Value, kind: str) -> Value:
        """Return a value for a parameter, or raise what Go says about its type."""
        if kind in (ANY, VALUE):
            return value
        if value is None:
            if kind in (STRING, FLOAT, INT):
                raise self.error(f"invalid value; expected {kind}")
            return value
        given = go_type(value)
        if given == kind:
            return value
        raise self.error(f"wrong type for value; expected {kind}; got {given}")


def _call_message(arguments: tuple[nodes.Operand, ...], value: Value) -> str:
    name = str(arguments[0]) if arguments else format_value(value)
    if value is None:
        return "error calling call: call of nil"
    return f"error calling call: non-function {name} of type {go_type(value)}"


def _quote(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _shown(node: nodes.Node | nodes.Operand | nodes.Command) -> str:
    if isinstance(node, nodes.Call):
        pipeline = "" if node.pipeline is None else f" {node.pipeline}"
        return f"{{{{template {_quote(node.name)}{pipeline}}}}}"
    return str(node)
