"""The results of unit tests as text for people and as JUnit XML for build servers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from alerts.rules.unit_tests import Failure, FileResult


def comparison(failure: Failure) -> list[str]:
    """Return what was expected and what came out, a line each; nothing when that is not it."""
    if not failure.expected and not failure.got:
        return []
    return [
        *_listed("expected", failure.expected),
        *_listed("got", failure.got),
    ]


def difference(failure: Failure) -> list[str]:
    """Return both sides as one list: ``-`` is missing, ``+`` was not expected."""
    rest = list(failure.got)
    lines: list[tuple[str, str]] = []
    for entry in failure.expected:
        if entry in rest:
            rest.remove(entry)
            lines.append((entry, " "))
        else:
            lines.append((entry, "-"))
    lines += [(entry, "+") for entry in rest]
    lines.sort(key=lambda line: line[0])
    return [f"{sign} {entry}" for entry, sign in lines]


def _listed(what: str, entries: Sequence[str]) -> list[str]:
    label = f"{what}:".ljust(10)
    if not entries:
        return [f"{label}nothing"]
    return [f"{label if not index else ' ' * 10}{entry}" for index, entry in enumerate(entries)]


def junit_xml(results: Iterable[FileResult]) -> str:
    """Return results as JUnit XML: a suite for each file, a case for each test."""
    root = ET.Element("testsuites")
    for result in results:
        failed = sum(bool(test.failures) for test in result.tests)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_printable(result.file),
            tests=str(len(result.tests)),
            failures=str(failed),
            errors=str(int(bool(result.problems))),
            skipped="0",
            time=f"{sum(test.duration_s for test in result.tests):.3f}",
        )
        for test in result.tests:
            case = ET.SubElement(
                suite,
                "testcase",
                name=_printable(test.name),
                classname=_printable(result.file),
                time=f"{test.duration_s:.3f}",
            )
            for failure in test.failures:
                element = ET.SubElement(case, "failure", message=_printable(str(failure.problem)))
                element.text = _printable("\n".join(comparison(failure)))
        if result.problems:
            error = ET.SubElement(ET.SubElement(suite, "testcase", name="file"), "error")
            error.text = _printable("\n".join(map(str, result.problems)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Replace what XML cannot hold."""
    return "".join(
        letter
        if letter in "\t\n\r"
        or ((letter >= " " and not "\ud800" <= letter <= "\udfff") and letter not in "\ufffe\uffff")
        else "\ufffd"
        for letter in text
    )
