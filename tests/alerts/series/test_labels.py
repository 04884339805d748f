"""Label sets: identity, order, change, and the names they print as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.series.labels import Labels, quote

LABELS = st.dictionaries(st.text(min_size=1, max_size=4), st.text(max_size=4), max_size=5)


def test_order_does_not_matter():
    """Label sets with the same pairs are equal and hash alike."""
    one = Labels([("b", "2"), ("a", "1")])
    other = Labels({"a": "1", "b": "2"})

    assert one == other
    assert hash(one) == hash(other)
    assert list(one) == ["a", "b"]


def test_an_empty_value_is_no_label():
    """A label without a value is as if it were not there."""
    assert Labels({"a": "", "b": "1"}) == Labels({"b": "1"})
    assert "a" not in Labels({"a": ""})


def test_is_a_read_only_mapping():
    """Values are looked up by name, and the metric name has a property of its own."""
    labels = Labels({"__name__": "up", "job": "web"})

    assert (labels["job"], labels.get("x"), len(labels)) == ("web", None, 2)
    assert (labels.metric_name, Labels().metric_name) == ("up", "")
    assert labels != {"__name__": "up", "job": "web"}


def test_keep_drop_and_merge_make_new_sets():
    """Sets are reduced and laid over each other without changing."""
    labels = Labels({"a": "1", "b": "2"})

    assert labels.keep({"a", "x"}) == Labels({"a": "1"})
    assert labels.drop({"a", "x"}) == Labels({"b": "2"})
    assert labels.merge({"a": "", "c": "3"}) == Labels({"b": "2", "c": "3"})
    assert labels == Labels({"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({}, "{}"),
        ({"__name__": "up"}, "up"),
        ({"a": "1", "b": "2"}, '{a="1", b="2"}'),
        ({"__name__": "up", "a": 'x"\\\n'}, r'up{a="x\"\\\n"}'),
        ({"__name__": "http.requests", "k8s.pod": "x"}, '{"http.requests", "k8s.pod"="x"}'),
    ],
)
def test_prints_as_a_selector(labels: dict[str, str], text: str):
    """A set prints as PromQL would select it; unusual names stand in quotes."""
    assert repr(Labels(labels)) == text


@pytest.mark.parametrize(
    ("labels", "fingerprint"),
    [
        ({}, 14695981039346656037),
        ({"name": "garland, briggs", "fear": "love is not enough"}, 5799056148416392346),
    ],
)
def test_fingerprints_are_alertmanagers(labels: dict[str, str], fingerprint: int):
    """The fingerprint is the one that Alertmanager gives the same labels."""
    assert Labels(labels).fingerprint() == f"{fingerprint:016x}"


def test_quote_escapes_what_promql_asks_for():
    """Backslash, quote and line feed are escaped, everything else stays."""
    assert quote('a\\b"c\nd\té') == '"a\\\\b\\"c\\nd\té"'


@given(LABELS, LABELS)
def test_equal_sets_are_equal_in_every_way(one: dict[str, str], other: dict[str, str]):
    """Equality, hash, order and fingerprint agree with the pairs that have a value."""
    left, right = Labels(one), Labels(other)
    is_same = {k: v for k, v in one.items() if v} == {k: v for k, v in other.items() if v}

    assert (left == right) is is_same
    assert not is_same or hash(left) == hash(right)
    assert (left < right) + (right < left) + is_same == 1


@given(LABELS, st.sets(st.text(min_size=1, max_size=4)))
def test_keep_and_drop_part_a_set(labels: dict[str, str], names: set[str]):
    """What is kept and what is dropped by the same names make up the whole."""
    whole = Labels(labels)

    assert whole.keep(names).merge(whole.drop(names)) == whole
