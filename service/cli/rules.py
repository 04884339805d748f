"""``gatewatch rules``: check and test rule files without starting anything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli import options
from service.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    problems_as_data,
    write_error,
    write_json,
    write_line,
    write_problems,
    write_warnings,
)

if TYPE_CHECKING:
    from alerts.rules.file import RuleFiles
    from alerts.rules.unit_tests import Failure, FileResult, RunOptions

FeatureOption = Annotated[
    list[str] | None,
    typer.Option(
        "--enable-feature",
        metavar="NAME",
        help="A feature flag of Prometheus, such as promql-experimental-functions; "
        "can be repeated.",
        show_default=False,
    ),
]

IgnoreOption = Annotated[
    bool,
    typer.Option("--ignore-unknown-fields", help="Let keys pass that rule files do not have."),
]

FilesArgument = Annotated[
    list[Path],
    typer.Argument(exists=True, dir_okay=False, metavar="FILE", hidden=True),
]


class Lint(StrEnum):
    """What to look for in rules that are legal."""

    ALL = "all"
    DUPLICATES = "duplicate-rules"
    NONE = "none"


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(
        help="Check and test rule files without starting anything.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.callback()(_group)
    group.command()(check)
    group.command("test")(test)
    return group


def _group() -> None:
    """Check and test rule files without starting anything."""


def check(
    files: FilesArgument,
    as_json: options.JSONOption = False,
    lint: Annotated[
        Lint, typer.Option(help="What to look for in rules that are legal.")
    ] = Lint.DUPLICATES,
    lint_fatal: Annotated[
        bool, typer.Option("--lint-fatal", help="Take what that finds as wrong.")
    ] = False,
    features: FeatureOption = None,
    ignore_unknown: IgnoreOption = False,
) -> None:
    """Check rule files in Prometheus's format.

    Prints every problem as file:line:column. The exit code is 1 if there is one.
    """
    found = _check(files, _run_options(features, ignore_unknown=ignore_unknown))
    lints = () if lint is Lint.NONE else found.duplicates
    warnings = [*found.warnings, *(() if lint_fatal else lints)]
    problems = sorted([*found.problems, *(lints if lint_fatal else ())])
    if as_json:
        listed = problems_as_data(warnings)["problems"]
        write_json({**problems_as_data(problems), "warnings": listed})
    else:
        write_warnings(warnings)
        write_problems(problems)
        for file in files if not problems else ():
            counts = [len(group.rules) for group in found.groups if group.file == str(file)]
            write_line(f"{file}: good, groups: {len(counts)}, rules: {sum(counts)}")
    if problems:
        raise typer.Exit(EXIT_FAILED)


def test(
    files: FilesArgument,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="REGEX",
            help="Only tests whose name it matches; can be repeated.",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print every series at the end of each test.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print only the difference, with - and +.")
    ] = False,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit",
            metavar="FILE",
            dir_okay=False,
            help="Write the results there as JUnit XML.",
            show_default=False,
        ),
    ] = None,
    as_json: options.JSONOption = False,
    features: FeatureOption = None,
    ignore_unknown: IgnoreOption = False,
) -> None:
    """Run unit tests for rules, in promtool's format.

    The exit code is 1 if a test fails or a file is bad, and 2 if the results of --junit cannot
    be written.
    """
    from alerts.clock import SystemClock
    from alerts.rules.unit_test_report import junit_xml
    from alerts.rules.unit_tests import run_rule_tests

    wants = _name_filter(run or ())
    reading = _run_options(features, ignore_unknown=ignore_unknown)
    results = []
    for file in files:
        result = run_rule_tests(
            file, clock=SystemClock(), wants=wants, with_series=debug, options=reading
        )
        results.append(result)
        if not as_json:
            _write_result(result, diff=diff)
    if as_json:
        write_json(
            {
                "ok": all(result.passed for result in results),
                "files": [_as_data(result) for result in results],
            }
        )
    if run and not any(result.tests or result.problems for result in results):
        write_error("--run", "warning: no test has a name that it matches")
    if junit is not None:
        try:
            junit.write_text(junit_xml(results), encoding="utf-8")
        except OSError as error:
            write_error(str(junit), f"cannot write the results there: {error.strerror}")
            raise typer.Exit(EXIT_USAGE) from error
    if not all(result.passed for result in results):
        raise typer.Exit(EXIT_FAILED)


def _run_options(features: Iterable[str] | None, *, ignore_unknown: bool) -> RunOptions:
    from alerts.promql.features import known_features
    from alerts.rules.unit_tests import RunOptions

    try:
        return RunOptions(known_features(features or ()), ignore_unknown)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--enable-feature") from error


def _check(files: Iterable[Path], reading: RunOptions) -> RuleFiles:
    from alerts.clock import SystemClock
    from alerts.promql.engine import Engine
    from alerts.rules.file import check_rules
    from alerts.series.store import SeriesStore
    from service.config.settings import AlertsSettings

    defaults = AlertsSettings()
    store = SeriesStore(clock=SystemClock(), retention_s=defaults.retention)
    return check_rules(
        files,
        engine=Engine(store, features=reading.features),
        default_interval_s=defaults.evaluation_interval,
        ignores_unknown_keys=reading.ignores_unknown_keys,
    )


def _name_filter(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return the test for names that one of the patterns matches anywhere; none match all."""
    from alerts.series.matchers import compile_regex

    try:
        for pattern in patterns:
            compile_regex(pattern)
        tests = [compile_regex(f".*(?:{pattern}).*") for pattern in patterns]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--run") from error
    if not tests:
        return lambda _: True
    return lambda name: any(matches(name) for matches in tests)


def _write_result(result: FileResult, *, diff: bool) -> None:
    write_warnings(result.warnings)
    write_problems(result.problems)
    for test_result in result.tests:
        for failure in test_result.failures:
            write_error(failure.problem.place, failure.problem.message)
            _write_details(failure, diff=diff)
        for series in test_result.series:
            sys.stderr.write(f"{test_result.name}: {series}\n")
    if not result.problems:
        failed = sum(bool(each.failures) for each in result.tests)
        verdict = f"bad, failed: {failed}" if failed else "good"
        write_line(f"{result.file}: {verdict}, tests: {len(result.tests)}")


def _write_details(failure: Failure, *, diff: bool) -> None:
    from alerts.rules.unit_test_report import comparison, difference

    lines = difference(failure) if diff else comparison(failure)
    if not sys.stderr.isatty():
        sys.stderr.write("".join(f"    {line}\n" for line in lines))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    styles = {"-": "red", "+": "green"} if diff else {}
    for line in lines:
        console.print(Text(f"    {line}", styles.get(line[0], "")), soft_wrap=True)


def _as_data(result: FileResult) -> dict[str, Any]:
    return {
        "file": result.file,
        "ok": result.passed,
        "problems": problems_as_data(result.problems)["problems"],
        "warnings": problems_as_data(result.warnings)["problems"],
        "tests": [
            {
                "name": each.name,
                "ok": not each.failures,
                "seconds": round(each.duration_s, 6),
                "failures": [
                    {
                        "line": failure.problem.line,
                        "message": failure.problem.message,
                        "expected": list(failure.expected),
                        "got": list(failure.got),
                    }
                    for failure in each.failures
                ],
                "series": list(each.series),
            }
            for each in result.tests
        ],
    }
