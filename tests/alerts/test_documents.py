"""YAML documents: where values stand, and what hostile or broken text leads to."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from alerts import documents
from alerts.documents import Document, Position, parse_document, read_document
from alerts.errors import DocumentError


def problems_of(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse_document(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_knows_where_keys_and_values_stand():
    """Every value and every key has a line and a column, counted from 1."""
    document = parse_document("a: 1\nb:\n  - c: x\n  - d\n", "f.yaml")

    assert document.data == {"a": 1, "b": [{"c": "x"}, "d"]}
    assert document.position(("a",), of_key=True) == Position(1, 1)
    assert document.position(("a",)) == Position(1, 4)
    assert document.position(("b", 0, "c")) == Position(3, 8)
    assert document.position(("b", 1)) == Position(4, 5)


def test_a_missing_value_stands_where_it_should_be():
    """The place of what is not there is that of the nearest thing around it."""
    document = parse_document("a:\n  b: {}\n", "f.yaml")

    assert document.position(("a", "b", "c", "d")) == Position(2, 3)
    assert document.position(("x",)) == Position(1, 1)


def test_an_empty_document_has_no_data():
    """Nothing, or only comments, is a document with no data, at its beginning."""
    document = parse_document("# nothing\n", "f.yaml")

    assert document == Document("f.yaml", None, {}, {}, {})
    assert document.position(("a",)) == Position(1, 1)


def test_a_problem_names_file_and_place():
    """A problem found later is reported at the value, or at its key."""
    document = parse_document("port: abc\n", "f.yaml")

    assert str(document.problem(("port",), "no number")) == "f.yaml:1:7: no number"
    assert str(document.problem(("port",), "unknown", of_key=True)) == "f.yaml:1:1: unknown"


def test_aliases_stand_where_they_were_anchored():
    """What an alias or a merge key brings in has the place and the text of its anchor."""
    document = parse_document("a: &x {n: 0x10}\nb: *x\nc: {<<: [*x], m: 1}\n", "f.yaml")

    assert document.data == {"a": {"n": 16}, "b": {"n": 16}, "c": {"n": 16, "m": 1}}
    assert document.position(("b", "n")) == Position(1, 11)
    assert document.position(("c", "n"), of_key=True) == Position(1, 8)
    assert document.texts["c", "n"] == "0x10"


def test_own_keys_win_over_merged_ones():
    """A key beside a merge key keeps its own place."""
    document = parse_document("a: &x {n: 1}\nb:\n  <<: *x\n  n: 2\n", "f.yaml")

    assert document.data == {"a": {"n": 1}, "b": {"n": 2}}
    assert document.position(("b", "n")) == Position(4, 6)


def test_only_the_first_document_counts():
    """What follows a second `---` is not read."""
    assert parse_document("a: 1\n---\nb: 2\n", "f.yaml").data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b: c", "f.yaml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: 1\na: 2", "f.yaml:2:1: the key 'a' stands here twice"),
        ("a: &x [*x]", "f.yaml:1:4: the value with this anchor contains an alias of itself"),
        ("&x {<<: *x}", "f.yaml:1:1: the value with this anchor contains an alias of itself"),
        ("a: \x00", "f.yaml:1:4: not valid YAML: the character U+0000 is not allowed"),
        ("a: !x 1", "f.yaml:1:4: not valid YAML: could not determine a constructor"),
        ("a: !!set {b}", "f.yaml:1:4: not valid YAML: the tag 'tag:yaml.org,2002:set' is not used"),
        ("a: *x", "f.yaml:1:4: not valid YAML: found undefined alias 'x'"),
        ("[1]: 2", "f.yaml:1:1: not valid YAML: while constructing a mapping, found unhashable"),
        ("\n2026-13-01", "f.yaml:2:1: not valid YAML: this is no valid timestamp"),
        ("!!bool x", "f.yaml:1:1: not valid YAML: this is no valid bool"),
        ("!!timestamp x", "f.yaml:1:1: not valid YAML: this is no valid timestamp"),
        ("!!int ''", "f.yaml:1:1: not valid YAML: this is no valid int"),
        ("a: " + "9" * 5000, "f.yaml:1:4: not valid YAML: this is no valid int"),
        ("[" * 5000, "f.yaml: values are nested too deeply"),
    ],
)
def test_says_what_is_wrong_and_where(text: str, problem: str):
    """Each way for a text not to be a document has its own message, with a place."""
    (found,) = problems_of(text)

    assert found.startswith(problem)
    assert "\n" not in found


def test_lists_every_repeated_key():
    """All keys that stand twice are reported together."""
    assert len(problems_of("a: 1\na: 2\nb: {c: 1, c: 2}\n")) == 2


def test_refuses_a_short_text_that_stands_for_billions_of_values():
    """Aliases of aliases are followed up to a limit."""
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]

    (found,) = problems_of("\n".join(lines))

    assert "more than 300000 values" in found


def test_reads_a_file_by_its_path(tmp_path: Path):
    """A file is called by its path, or by the name the user gave it."""
    file = tmp_path / "f.yaml"
    file.write_text("a: ä\n", encoding="utf-8")

    assert read_document(file).file == str(file)
    assert read_document(file, name="f.yaml").file == "f.yaml"


def test_a_file_that_cannot_be_read(tmp_path: Path):
    """A file that is not there, or not UTF-8, is a problem of the whole file."""
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: \xe4\n")

    with pytest.raises(DocumentError, match=r"none\.yaml: cannot read it: No such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(DocumentError, match=r"latin\.yaml: cannot read it: it is not UTF-8 text"):
        read_document(latin)


@given(st.text(alphabet="ab:-[]{}&*!<>?|,#'\"0123 \n\t\x00é", max_size=40))
def test_any_text_is_a_document_or_a_document_error(text: str):
    """Whatever is in a file, the answer is a document or problems with a place."""
    try:
        document = parse_document(text, "f")
    except DocumentError as error:
        assert all("\n" not in str(problem) for problem in error.problems)
    else:
        assert document.file == "f"


def test_what_is_no_text_is_said_with_its_place():
    """Bytes of the command line or the environment that are no UTF-8 come as lone surrogates."""
    (problem,) = problems_of("a: \udcff")

    assert problem == "f.yaml:1:4: not valid YAML: the character U+DCFF is not allowed"


_PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=12)
_VALUES = st.recursive(
    _PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abé-: ", max_size=4), inner)
    ),
    max_leaves=12,
)


def seen(node: object) -> object:
    """Return what there is of a node and everything in it, with the places."""
    if isinstance(node, list | tuple):
        return [seen(each) for each in node]
    if not isinstance(node, yaml.Node):
        return node
    return (node.tag, node.start_mark.line, node.start_mark.column, seen(node.value))


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="this PyYAML has no libyaml")
@given(_VALUES, st.sampled_from([True, False, None]), st.sampled_from([None, '"', "'", "|", ">"]))
def test_both_parsers_see_the_same(value: object, flow: bool | None, style: str | None):
    """What is written as usual is the same to both of PyYAML's parsers, and stands in one place."""
    text = yaml.safe_dump(
        value, default_flow_style=flow, default_style=style, allow_unicode=True, width=20
    )

    quick, careful = yaml.CSafeLoader(text), yaml.SafeLoader(text)

    assert seen(documents._first_node(quick)) == seen(documents._first_node(careful))


_STYLES = """
plain: sum(a
quoted: 'sum(b'
double: "sum(c"
literal: |
  sum(
    d + 1
folded: >-
  sum(
    e
escaped: "sum(\\x66"
flow: {inside: sum(g}
"""


@pytest.mark.parametrize(
    ("path", "before", "place"),
    [
        (("plain",), "sum(", (2, 12)),
        (("quoted",), "sum(", (3, 14)),
        (("double",), "sum(", (4, 14)),
        (("literal",), "sum(\n", (7, 5)),
        (("literal",), "sum(\n  d + ", (7, 9)),
        (("literal",), "sum(\n  d + 1\n", (7, 10)),
        (("folded",), "sum( ", (10, 5)),
        (("flow", "inside"), "sum(", (12, 20)),
        (("plain",), "", (2, 8)),
    ],
)
def test_place_inside_a_text(path, before, place):
    """A place in a text is found in the file, whatever way the text is written."""
    found = parse_document(_STYLES, "f").position_after(path, before)

    assert found is not None
    assert (found.line, found.column) == place


def test_no_place_inside_a_text_with_escapes():
    """A text that does not read as it is written is given up."""
    assert parse_document(_STYLES, "f").position_after(("escaped",), "sum(f") is None
    assert parse_document(_STYLES, "f").position_after(("nothing",), "") is None
