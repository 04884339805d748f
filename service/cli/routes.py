"""``gatewatch routes``: where alerts go, found out without sending any."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli import options
from service.cli.output import EXIT_FAILED, write_error, write_json, write_line

if TYPE_CHECKING:
    from alerts.routing.model import InhibitRule, Route, RoutingConfig
    from alerts.series.labels import Labels
    from service.config.settings import AlertsSettings

Row = tuple[str, str, str]
"""A receiver, the path of its route, the labels of the alert's group."""


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(
        help="Show the routes of alerts and test where an alert goes.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("test")(test)
    group.command()(show)
    return group


def test(
    labels: Annotated[
        list[str] | None,
        typer.Argument(metavar="LABEL=VALUE", show_default=False, help="Labels of an alert."),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            "--verify-receivers",
            metavar="NAMES",
            help="Exit with 1 unless these are reached, in this order: a,b.",
            show_default=False,
        ),
    ] = None,
    tree: Annotated[
        bool, typer.Option("--tree", help="Print the part of the tree it goes through.")
    ] = False,
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Print which receivers an alert with these labels reaches, in order.

    For each one: its name, its route as in the keys of groups, and the labels of the group the
    alert would be in. Silences, inhibition and time intervals are not looked at.
    """
    alert = _labels(labels or ())
    routing = _routing(options.load(config, settings).settings.alerts)
    reached = routing.route.matching(alert)
    names = [route.receiver for route in reached]
    is_expected = verify is None or [name.strip() for name in verify.split(",")] == names
    if as_json:
        write_json(
            {
                "ok": is_expected,
                "labels": dict(alert),
                "receivers": [_as_data(route, alert) for route in reached],
            }
        )
    else:
        if tree:
            _write_tree(routing.route, reached)
        _write_rows([_row(route, alert) for route in reached])
    if not is_expected:
        write_error("routes", f"expected {verify}, but it reaches {','.join(names)}")
        raise typer.Exit(EXIT_FAILED)


def show(
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Print the tree of routes, then the inhibition rules.

    A line has the matchers of a route and its receiver, then what differs from the route above.
    Rules of inhibition that follow from what checks depend on are among the others.
    """
    from service.health.inhibition import with_dependencies

    loaded = options.load(config, settings).settings
    routing = with_dependencies(_routing(loaded.alerts), loaded.health)
    if as_json:
        rules = [_rule_as_data(rule) for rule in routing.inhibit_rules]
        write_json({**_tree_as_data(routing.route), "inhibit_rules": rules})
        return
    _write_tree(routing.route)
    for rule in routing.inhibit_rules:
        write_line(_described_rule(rule))


def _labels(texts: Iterable[str]) -> Labels:
    """Return the labels of an alert.

    Raises:
        typer.BadParameter: One is not written as LABEL=VALUE.
    """
    from alerts.routing.matchers import MatcherError, parse_matcher
    from alerts.series.labels import Labels
    from alerts.series.matchers import MatchOp

    found: dict[str, str] = {}
    for text in texts:
        try:
            matcher = parse_matcher(text)
        except MatcherError as error:
            raise typer.BadParameter(
                f"{text!r} is no label: {error}", param_hint="LABEL=VALUE"
            ) from error
        if matcher.op is not MatchOp.EQUAL:
            message = f"{text!r} is no label of an alert, which has one value: write LABEL=VALUE"
            raise typer.BadParameter(message, param_hint="LABEL=VALUE")
        found[matcher.name] = matcher.value
    return Labels(found)


def _routing(alerts: AlertsSettings) -> RoutingConfig:
    """Return the routes in effect.

    Raises:
        DocumentError: The file has problems; lists them.
    """
    from alerts.routing.config import load_routing
    from alerts.routing.model import log_routing
    from service.channels import channel_reader

    if alerts.alertmanager_config is None:
        return log_routing()
    return load_routing(alerts.alertmanager_config, channels=channel_reader(alerts))


def _row(route: Route, alert: Labels) -> Row:
    from alerts.routing.groups import group_labels

    return route.receiver, route.path, repr(group_labels(route, alert))


def _as_data(route: Route, alert: Labels) -> dict[str, Any]:
    from alerts.routing.groups import group_labels

    return {
        "receiver": route.receiver,
        "route": route.path,
        "group_labels": dict(group_labels(route, alert)),
        "mute_time_intervals": list(route.mute_time_intervals),
        "active_time_intervals": list(route.active_time_intervals),
    }


def _write_rows(rows: Sequence[Row]) -> None:
    """Write a table on a terminal, lines with tabs in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            write_line("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("receiver", "route", "group", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _write_tree(root: Route, reached: Sequence[Route] | None = None) -> None:
    """Write a tree of routes; with ``reached``, only the branches that lead there."""
    targets = None if reached is None else {route.id for route in reached}

    def is_shown(route: Route) -> bool:
        return targets is None or any(one.id in targets for one in route.walk())

    write_line(_described(root, None))
    for line in _branches(root, is_shown):
        write_line(line)


def _branches(route: Route, is_shown: Callable[[Route], bool]) -> Iterator[str]:
    children = [child for child in route.routes if is_shown(child)]
    for child in children:
        is_last = child is children[-1]
        yield f"{'└── ' if is_last else '├── '}{_described(child, route)}"
        for line in _branches(child, is_shown):
            yield f"{'    ' if is_last else '│   '}{line}"


def _described(route: Route, above: Route | None) -> str:
    """Return a line about a route: matchers, receiver, and what differs from the one above."""
    from alerts.routing.matchers import format_matchers

    parts = [format_matchers(route.matchers), f"receiver: {route.receiver}"]
    inherited = {} if above is None else _inherited(above)
    parts += [
        f"{name}: {text}" for name, text in _inherited(route).items() if inherited.get(name) != text
    ]
    for name, intervals in (
        ("mute_time_intervals", route.mute_time_intervals),
        ("active_time_intervals", route.active_time_intervals),
    ):
        if intervals:
            parts.append(f"{name}: [{', '.join(intervals)}]")
    if route.continues:
        parts.append("continue: true")
    return "  ".join(parts)


def _described_rule(rule: InhibitRule) -> str:
    """Return a line about an inhibition rule."""
    from alerts.routing.matchers import format_matchers

    source, target = map(format_matchers, (rule.source_matchers, rule.target_matchers))
    parts = [f"inhibition: {source} inhibits {target}"]
    if rule.equal:
        parts.append(f"equal: [{', '.join(rule.equal)}]")
    if rule.name:
        parts.append(f"name: {rule.name}")
    return "  ".join(parts)


def _rule_as_data(rule: InhibitRule) -> dict[str, Any]:
    from alerts.routing.matchers import format_matcher

    return {
        "name": rule.name,
        "source_matchers": [format_matcher(matcher) for matcher in rule.source_matchers],
        "target_matchers": [format_matcher(matcher) for matcher in rule.target_matchers],
        "equal": list(rule.equal),
    }


def _inherited(route: Route) -> dict[str, str]:
    """Return what routes below take over, as the file writes it."""
    from alerts.durations import format_duration

    return {
        "group_by": f"[{', '.join(route.group_by)}]",
        "group_wait": format_duration(route.group_wait_s),
        "group_interval": format_duration(route.group_interval_s),
        "repeat_interval": format_duration(route.repeat_interval_s),
    }


def _tree_as_data(route: Route) -> dict[str, Any]:
    from alerts.routing.matchers import format_matcher

    return {
        "route": route.path,
        "id": route.id,
        "receiver": route.receiver,
        "matchers": [format_matcher(matcher) for matcher in route.matchers],
        "continue": route.continues,
        "group_by": list(route.group_by),
        "group_wait_s": route.group_wait_s,
        "group_interval_s": route.group_interval_s,
        "repeat_interval_s": route.repeat_interval_s,
        "mute_time_intervals": list(route.mute_time_intervals),
        "active_time_intervals": list(route.active_time_intervals),
        "labels": dict(route.labels),
        "routes": [_tree_as_data(child) for child in route.routes],
    }
