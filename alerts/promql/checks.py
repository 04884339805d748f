"""Types: what may be combined with what, with the errors Prometheus gives.

Source: promql/parser/parse.go, checkAST.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alerts.promql.errors import PromQLError
from alerts.promql.nodes import COMPARISONS, SET_OPERATORS, Matching, Node, kind_of
from alerts.promql.signatures import Signature
from alerts.promql.values import ValueKind

_NAMES: dict[ValueKind, str] = {
    "vector": "instant vector",
    "scalar": "scalar",
    "matrix": "range vector",
    "string": "string",
}


def type_name(kind: ValueKind) -> str:
    """Return what Prometheus calls a type in messages."""
    return _NAMES[kind]


def failure(pos: int, message: str) -> PromQLError:
    """Return the error for something wrong in the text itself."""
    return PromQLError(f"parse error: {message}", offset=pos)


def expect(node: Node, wanted: ValueKind, context: str) -> None:
    """Refuse a node of another type.

    Raises:
        PromQLError: It is of another type.
    """
    kind = kind_of(node)
    if kind != wanted:
        raise failure(
            node.pos,
            f"expected type {type_name(wanted)} in {context}, got {type_name(kind)}",
        )


def check_call(name: str, signature: Signature, args: Sequence[Node], pos: int) -> None:
    """Refuse a call with too few, too many or the wrong arguments.

    Raises:
        PromQLError: There are any.
    """
    count, least, most = len(args), signature.at_least, signature.at_most
    if most == least and count != least:
        message = f'expected {least} argument(s) in call to "{name}", got {count}'
        raise failure(pos, message)
    if count < least:
        raise failure(
            pos, f'expected at least {least} argument(s) in call to "{name}", got {count}'
        )
    if most is not None and count > most:
        raise failure(pos, f'expected at most {most} argument(s) in call to "{name}", got {count}')
    for at, arg in enumerate(args):
        wanted = signature.takes[min(at, len(signature.takes) - 1)]
        expect(arg, wanted, f'call to function "{name}"')


def check_binary(
    op: str, lhs: Node, rhs: Node, *, return_bool: bool, matching: Matching, pos: int
) -> tuple[ValueKind, Matching]:
    """Return the type of a binary operation, and its matching made right for the operator.

    Raises:
        PromQLError: The operands or modifiers do not go with the operator.
    """
    kinds = (kind_of(lhs), kind_of(rhs))
    if return_bool and op not in COMPARISONS:
        raise failure(pos, "bool modifier can only be used on comparison operators")
    if not set(kinds) <= {"vector", "scalar"}:
        wrong = lhs if kinds[0] not in ("vector", "scalar") else rhs
        raise failure(
            wrong.pos, "binary expression must contain only scalar and instant vector types"
        )
    if op in COMPARISONS and not return_bool and kinds == ("scalar", "scalar"):
        raise failure(pos, "comparisons between scalars must use BOOL modifier")
    if kinds != ("vector", "vector"):
        if op in SET_OPERATORS:
            raise failure(pos, f'set operator "{op}" not allowed in binary scalar expression')
        if matching.on or matching.labels or matching.cardinality != "one-to-one":
            raise failure(pos, "vector matching only allowed between instant vectors")
        return ("scalar" if kinds == ("scalar", "scalar") else "vector"), Matching()
    return "vector", _check_matching(op, matching, pos)


def _check_matching(op: str, matching: Matching, pos: int) -> Matching:
    if op in SET_OPERATORS:
        if matching.cardinality != "one-to-one":
            raise failure(pos, f'no grouping allowed for "{op}" operation')
        return replace(matching, cardinality="many-to-many")
    if matching.on:
        for label in matching.include:
            if label in matching.labels:
                raise failure(pos, f'label "{label}" must not occur in ON and GROUP clause at once')
    return matching
