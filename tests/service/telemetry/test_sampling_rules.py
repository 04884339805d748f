"""The share of traces by name and namespace: the first rule that matches wins."""

from __future__ import annotations

import pytest

from service.telemetry.sampling_rules import SamplingRule, SamplingRules, namespace_of

RULES = (
    SamplingRule(0.0, name="GET /metrics"),
    SamplingRule(0.1, name="publish *", namespace="chat"),
    SamplingRule(0.2, namespace="chat"),
    SamplingRule(0.3, namespace=""),
    SamplingRule(0.4, name="GET /api/v?/*"),
    SamplingRule(0.5, name="GET *"),
)


@pytest.mark.parametrize(
    ("name", "namespace", "ratio"),
    [
        ("GET /metrics", None, 0.0),
        ("publish chat:*", "chat", 0.1),
        ("subscribe chat:*", "chat", 0.2),
        ("publish *", "", 0.3),
        ("publish news:*", "news", None),
        ("publish *", None, None),
        ("GET /api/v1/query", None, 0.4),
        ("GET /api/v10/query", None, 0.5),
        ("get /api", None, None),
        ("POST /api/publish", None, None),
    ],
)
def test_the_first_rule_that_matches_wins(name, namespace, ratio):
    """And where none does, none is given; asking again changes nothing."""
    rules = SamplingRules(0.9, RULES)

    assert rules.given(name, namespace) == ratio
    assert rules.given(name, namespace) == ratio


@pytest.mark.parametrize(
    ("verb", "template", "ratio"),
    [
        ("publish", "chat:*", 0.1),
        ("subscribe", "chat:*", 0.2),
        ("publish", "*", 0.3),
        ("publish", "news:*", None),
        ("connect", "", None),
    ],
)
def test_what_is_done_with_a_channel_has_a_share(verb, template, ratio):
    """The namespace is the template's; without a channel there is none, not an empty one."""
    rules = SamplingRules(0.9, RULES)

    assert rules.about(verb, template) == ratio
    assert rules.about(verb, template) == ratio
    assert SamplingRules(0.9).about(verb, template) is None


def test_nothing_is_nothing():
    """With a share of 0 for all, rules say nothing: nothing consumes spans, or nobody wants any."""
    rules = SamplingRules(0.0, RULES)

    assert rules.given("GET /api/v1/query") is None
    assert not rules.exist


def test_made_up_names_are_not_remembered_for_ever():
    """However many names there are, memory is bounded and answers stay right."""
    rules = SamplingRules(0.9, RULES)
    for number in range(3000):
        assert rules.given(f"GET /{number}") == 0.5

    assert len(rules._found) <= 1000
    assert rules.given("GET /2999") == 0.5


@pytest.mark.parametrize(("template", "namespace"), [("chat:*", "chat"), ("*", "")])
def test_a_template_has_a_namespace(template, namespace):
    """The part before the colon, and none for channels without one."""
    assert namespace_of(template) == namespace
