"""Inhibition that follows from what checks depend on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alerts.model import Alert
from alerts.routing.inhibition import Inhibitor
from alerts.routing.model import log_routing
from alerts.series.labels import Labels
from service.config.health_settings import HealthSettings
from service.health.dependencies import Dependencies
from service.health.inhibition import dependency_rules, with_dependencies
from tests.support.alerts import START_MS

URL = {"http": {"url": "http://127.0.0.1:9/"}}


def health(**depends_on: list[str]) -> HealthSettings:
    """Return settings of checks, each with what it depends on."""
    checks = [{"name": name, "depends_on": needs, **URL} for name, needs in depends_on.items()]
    return HealthSettings.model_validate({"checks": checks})


def alert(check: str, severity: str = "critical") -> Alert:
    """Return an alert that fires."""
    labels = Labels({"alertname": "Mine", "check": check, "severity": severity})
    return Alert(labels, Labels(), START_MS, None, "")


def held(settings: HealthSettings, *firing: Alert) -> set[str]:
    """Return which checks' alerts are held back while some fire."""
    inhibitor = Inhibitor(dependency_rules(settings))
    for each in firing:
        inhibitor.put(each)
    return {
        each.labels.get("check", "")
        for each in firing
        if inhibitor.inhibiting(each.labels, START_MS)
    }


def test_only_the_cause_is_told():
    """However far below, alerts are held back; those beside are not."""
    settings = health(db=[], api=["db"], web=["api"], docs=[])

    assert held(settings, *map(alert, ("db", "api", "web", "docs"))) == {"api", "web"}
    assert held(settings, *map(alert, ("api", "web"))) == {"web"}
    assert held(settings, alert("web")) == set()


def test_names_are_taken_as_they_are():
    """A dot in a name is a dot, and the beginning of a name is not the name."""
    settings = health(**{"db": [], "a.b": ["db"]})

    assert held(settings, *map(alert, ("db", "a.b", "aXb", "a.b.c"))) == {"a.b"}


def test_an_alert_that_is_no_outage_holds_nothing_back():
    """A certificate of the dependency that expires is no reason to be silent about others."""
    settings = health(db=[], web=["db"])

    assert held(settings, alert("db", "warning"), alert("web")) == set()


def test_without_dependencies_the_routes_are_the_same():
    """Nothing is added to them."""
    routing = log_routing()

    assert with_dependencies(routing, health(web=[])) is routing


NAMES = [f"c{number}" for number in range(6)]
GRAPHS = st.fixed_dictionaries(
    {
        name: st.lists(st.sampled_from(NAMES[:index]), unique=True) if index else st.just([])
        for index, name in enumerate(NAMES)
    }
)


@given(GRAPHS, st.sets(st.sampled_from(NAMES)))
def test_what_is_held_back(graph, firing):
    """Exactly the alerts with one of another check above them, and never all there are."""
    found = held(health(**graph), *map(alert, sorted(firing)))
    above = Dependencies(graph).above

    assert found == {name for name in firing if firing & set(above(name))}
    assert not firing or found < firing
