"""Inhibition rules beside those of the file."""

from __future__ import annotations

import pytest

from alerts.routing.additions import with_inhibit_rules
from alerts.routing.model import InhibitRule, log_routing
from alerts.series.matchers import Matcher, MatchOp
from tests.support.routing import routing

BASE = "route: {receiver: log}\nreceivers: [{name: log}]\n"
OWN = "inhibit_rules:\n- source_matchers: [a=b]\n  target_matchers: [c=d]\n"
TIMES = """\
time_intervals:
- name: night
  time_intervals: [{times: [{start_time: '17:30', end_time: '24:00'}]}]
"""
RULE = InhibitRule(
    (Matcher(MatchOp.EQUAL, "check", 'a "b"'),),
    (Matcher(MatchOp.REGEX, "check", "x\\.y|ü"),),
    ("job",),
    "added",
)


@pytest.mark.parametrize("text", [BASE, BASE + OWN, BASE + "inhibit_rules:\n", BASE + OWN + TIMES])
def test_rules_are_added_to_what_the_file_says_and_to_its_text(text):
    """Whoever reads the text gets the same rules, its own first, and all else as it was."""
    own = routing(text)
    config = with_inhibit_rules(own, [RULE])
    again = routing(config.original)

    assert config.inhibit_rules == (*own.inhibit_rules, RULE) == again.inhibit_rules
    assert again.time_intervals == own.time_intervals
    assert again.route == own.route


def test_without_a_file():
    """The routes there are without a file take rules as well."""
    config = with_inhibit_rules(log_routing(), [RULE])

    assert routing(config.original).inhibit_rules == (RULE,)


def test_nothing_to_add():
    """Without rules the configuration is the same."""
    own = routing(BASE)

    assert with_inhibit_rules(own, []) is own
