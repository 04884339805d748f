"""The texts of notifications: Alertmanager's templates and data.

Named templates come from the file that is shipped, under the names Alertmanager's users know, and
on top of it from files of the user; the last definition of a name counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from alerts.errors import DocumentError, Problem
from alerts.notify.html_text import escape_html
from alerts.notify.template_data import TemplateData
from alerts.notify.template_functions import BOUND_FUNCTIONS, FUNCTIONS, bound_functions
from alerts.templates import nodes
from alerts.templates.errors import TemplateError
from alerts.templates.executor import execute
from alerts.templates.parser import parse_template
from alerts.templates.values import Function, Value, to_bytes

FUNCTION_NAMES: Final = frozenset([*FUNCTIONS, *BOUND_FUNCTIONS])
"""The functions templates of receivers and template files may call."""

_SHIPPED: Final = Path(__file__).parent / "default.tmpl"


@dataclass(frozen=True, slots=True)
class Text:
    """A template of a setting, parsed once.

    Attributes:
        source: As it was written.
        tree: What it does; None for a text without actions.
    """

    source: str
    tree: nodes.Tree | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(
        cls, source: str, *, functions: Iterable[str] = (), variables: Iterable[str] = ()
    ) -> Text:
        """Parse a template.

        Args:
            source: The text.
            functions: Names of functions besides those of all notifications.
            variables: Names of the variables that are set from the beginning, with ``$``.

        Raises:
            TemplateError: It is no Go template, or names a function or variable there is not.
        """
        if "{{" not in source:
            return cls(source)
        names = FUNCTION_NAMES.union(functions)
        return cls(source, parse_template(source, functions=names, variables=variables))


@dataclass(frozen=True, slots=True)
class Moment:
    """When and with what besides the data a text is expanded.

    Attributes:
        now_s: Unix time in seconds.
        functions: By name, besides those of all notifications.
        variables: By name, with ``$``.
    """

    now_s: float
    functions: Mapping[str, Function] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TemplateLibrary:
    """The named templates there are: those that are shipped, and on top those of files.

    Attributes:
        files: Name and text of each file, in the order they were read.
        defined: All named templates; built once, from the shipped file and ``files``.
    """

    files: tuple[tuple[str, str], ...] = ()
    defined: Mapping[str, nodes.Definition] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Parse everything.

        Raises:
            DocumentError: A file is no template; lists the first problem of each.
        """
        problems: list[Problem] = []
        defined = dict(_shipped())
        for name, text in self.files:
            defined |= _definitions(name, text, problems)
        if problems:
            raise DocumentError(problems)
        object.__setattr__(self, "defined", defined)

    @classmethod
    def load(cls, paths: Iterable[Path]) -> TemplateLibrary:
        """Read and parse template files.

        Raises:
            DocumentError: One cannot be read or parsed; lists all problems, with line and column.
        """
        problems: list[Problem] = []
        files: list[tuple[str, str]] = []
        for path in paths:
            try:
                files.append((str(path), path.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                problems.append(Problem(str(path), 0, 0, f"cannot read it: {reason}"))
        for name, text in files if problems else ():
            _definitions(name, text, problems)
        if problems:
            raise DocumentError(problems)
        return cls(tuple(files))

    def expand(
        self, text: Text, data: Value | TemplateData, moment: Moment, *, as_html: bool = False
    ) -> str:
        """Return what a template comes to.

        Args:
            text: The template.
            data: Its dot; the data of a notification or something inside of it.
            moment: When, and what it can refer to besides.
            as_html: Values are escaped for HTML, as Alertmanager does for mail.

        Raises:
            TemplateError: Something goes wrong; the text is the one Go has.
        """
        if text.tree is None:
            return text.source
        labels = data.notification.route_labels if isinstance(data, TemplateData) else {}
        expanded = execute(
            text.tree,
            data,
            functions={
                **FUNCTIONS,
                **bound_functions(moment.now_s, labels),
                **moment.functions,
            },
            variables=moment.variables,
            library=self.defined,
            escape=escape_html if as_html else None,
        )
        # Characters that a template cut apart would be no UTF-8.
        return expanded if expanded.isascii() else to_bytes(expanded).decode(errors="replace")


@cache
def _shipped() -> Mapping[str, nodes.Definition]:
    problems: list[Problem] = []
    found = _definitions(str(_SHIPPED), _SHIPPED.read_text(encoding="utf-8"), problems)
    if problems:
        raise DocumentError(problems)
    return found


def _definitions(name: str, text: str, problems: list[Problem]) -> dict[str, nodes.Definition]:
    try:
        tree = parse_template(text, functions=FUNCTION_NAMES)
    except TemplateError as error:
        before = text[: error.offset]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problems.append(Problem(name, line, column, str(error)))
        return {}
    file = name.rpartition("/")[2]
    found = {key: nodes.Definition(body, tree, file) for key, body in tree.defined.items()}
    # A file that is no more than definitions is also a template by its own name, as in Go.
    return {file: nodes.Definition(tree.body, tree, file), **found}
