"""Templates of notifications: data, functions, files, HTML, and what happens when they fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.clock import ManualClock
from alerts.errors import DocumentError
from alerts.model import Alert
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.html_text import escape_html
from alerts.notify.http_requests import has_fixed_host, sign
from alerts.notify.notification import Notification
from alerts.notify.route_labels import with_route_labels
from alerts.notify.settings import Limit
from alerts.notify.template_data import TemplateData
from alerts.notify.templates import Moment, TemplateLibrary, Text
from alerts.notify.truncation import ELLIPSIS, fits, truncate, truncate_lines
from alerts.series.labels import Labels
from alerts.templates.errors import TemplateError
from tests.support.alerts import START_MS, FakeTransport, make_alert, make_notification
from tests.support.channels import channel_of, good_entry

LIBRARY = TemplateLibrary()
NOTIFICATION = make_notification(
    "n1",
    alerts=(
        replace(
            make_alert(alertname="Down", job="a", zone="z"),
            annotations=Labels({"summary": "text", "trace_url": "http://trace/1"}),
        ),
        make_alert(ends_at_ms=START_MS + 90_000, alertname="Down", job="b", zone="z"),
    ),
    reason="new alerts added",
    route_labels=Labels({"team": "db"}),
)


def expand(source: str, *, as_html: bool = False, library: TemplateLibrary = LIBRARY) -> str:
    """Return what a template comes to, a minute after the alerts began."""
    data = TemplateData.of(NOTIFICATION, "http://here")
    moment = Moment(START_MS / 1000 + 60)
    return library.expand(Text.parse(source), data, moment, as_html=as_html)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}", "ops firing http://here"),
        ("{{ .NotificationReason }} {{ .RouteLabels.team }}", "new alerts added db"),
        ('{{ routeLabels "team" }}{{ routeLabels "x" }}', "db"),
        ("{{ len .Alerts }} {{ len .Alerts.Firing }} {{ .Alerts.Resolved | len }}", "2 1 1"),
        ("{{ .CommonLabels }}", "alertname=Down, zone=z"),
        ("{{ .CommonLabels.SortedPairs }}", "alertname=Down, zone=z"),
        ("{{ .CommonLabels.Remove .GroupLabels.Names }}", "zone=z"),
        ('{{ .CommonLabels.Names | join "+" }}', "alertname+zone"),
        ('{{ .CommonLabels.Values.Join ":" }}', "Down:z"),
        (
            "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}",
            "alertname=Down;zone=z;",
        ),
        ("{{ .CommonLabels.nothing }}", ""),
        ("{{ .CommonAnnotations.summary }}", "text"),
        ("{{ (index .Alerts 0).Labels.job }}{{ (index .Alerts 1).Status }}", "aresolved"),
        ('{{ (index .Alerts 0).StartsAt.Format "15:04:05" }}', "22:13:20"),
        ("{{ (index .Alerts 0).EndsAt.IsZero }}{{ (index .Alerts 1).EndsAt.IsZero }}", "truefalse"),
        ("{{ (index .Alerts 0).TraceURL }}", "http://trace/1"),
        (
            '{{ (index .Alerts 0).StartsAt | tz "Europe/Paris" | date "15:04 MST -07:00" }}',
            "23:13 CET +01:00",
        ),
        ("{{ since (index .Alerts 0).StartsAt }}", "1m0s"),
        ("{{ since (index .Alerts 0).StartsAt | humanizeDuration }}", "1m 0s"),
        ("{{ 5400 | humanizeDuration }}", "1h 30m 0s"),
        ('{{ (toDate "2006-01-02" "2024-02-29").Unix }}', "1709164800"),
        (
            '{{ (mustToDate "2006-01-02T15:04:05Z07:00" "2024-02-29T01:00:00+01:00").Unix }}',
            "1709164800",
        ),
        ('{{ (toDate "2006-01-02" "never").IsZero }}', "true"),
        (
            '{{ toUpper "a" }}{{ toLower "B" }}{{ title "hELLO world" }}{{ trimSpace " x " }}',
            "AbHello Worldx",
        ),
        ('{{ match "^a" "abc" }} {{ reReplaceAll "(b)" "<$1>" "abc" }}', "true a<b>c"),
        ('{{ stringSlice "a" "b" | join "," }}', "a,b"),
        ('{{ urlUnescape "a%20b+c" }}', "a b c"),
        ('{{ base64encode "a?>" }}{{ base64decode "YT8-" }}', "YT8-a?>"),
        ('{{ toJson (dict "b" (list 1 "x" true) "a" nil) }}', '{"a":null,"b":[1,"x",true]}'),
        ('{{ toJson (append (list 1) 2) }}{{ toJson "<&>" }}', '[1,2]"\\u003c\\u0026\\u003e"'),
        ("{{ toJson .GroupLabels }}", '{"alertname":"Down"}'),
        ('{{ template "__subject" . }}', "[FIRING:1] Down (z)"),
    ],
)
def test_data_and_functions(source: str, text: str) -> None:
    """Alertmanager's data and functions give what they give there."""
    assert expand(source) == text


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ .Nothing }}", "can't evaluate field Nothing"),
        ('{{ template "nope" . }}', 'template "nope" not defined'),
        ('{{ tz "Nowhere" (index .Alerts 0).StartsAt }}', "unknown time zone"),
        ('{{ urlUnescape "%zz" }}', "invalid URL escape"),
        ('{{ base64decode "*" }}', "illegal base64"),
        ('{{ dict "a" }}', "even number"),
        ('{{ mustToDate "2006" "x" }}', "cannot parse"),
    ],
)
def test_errors(source: str, error: str) -> None:
    """What a template cannot do is an error that says where."""
    with pytest.raises(TemplateError, match=error):
        expand(source)


@given(st.text(max_size=40))
def test_any_source(source: str) -> None:
    """Any text is a template, or a TemplateError with its place."""
    try:
        expand(source)
    except TemplateError as error:
        assert 0 <= error.offset <= len(source)


def test_shipped_names() -> None:
    """The names that users of Alertmanager know are there and can be expanded."""
    names = [name for name in LIBRARY.defined if ".default." in name]

    assert {"slack.default.title", "telegram.default.message", "email.default.html"} <= set(names)
    for name in names:
        data = "." if name != "pagerduty.default.instances" else ".Alerts"
        expand(f'{{{{ template "{name}" {data} }}}}', as_html=name.startswith("email"))


def test_files(tmp_path: Path) -> None:
    """A file of the user replaces what is shipped under the same name, and can call the rest."""
    file = tmp_path / "mine.tmpl"
    file.write_text(
        '{{ define "slack.default.title" }}<{{ template "__subject" . }}>{{ end }}', "utf-8"
    )
    library = TemplateLibrary.load([file])

    assert (
        expand('{{ template "slack.default.title" . }}', library=library) == "<[FIRING:1] Down (z)>"
    )
    assert expand('{{ template "slack.default.fallback" . }}', library=library).startswith(
        "<[FIRING"
    )
    assert library == TemplateLibrary.load([file])
    assert library != LIBRARY


def test_wrong_files(tmp_path: Path) -> None:
    """All files that are no templates are named, each with the place in it."""
    (tmp_path / "a.tmpl").write_text('{{ define "a" }}\n  {{ nope }}{{ end }}', "utf-8")
    with pytest.raises(DocumentError) as caught:
        TemplateLibrary.load([tmp_path / "a.tmpl", tmp_path / "gone.tmpl"])

    shown = str(caught.value)
    assert f"{tmp_path / 'a.tmpl'}:2:6: there is no function 'nope'" in shown
    assert "gone.tmpl: cannot read it" in shown


def test_place_in_a_file(tmp_path: Path) -> None:
    """An error in a named template names the file and line it stands in."""
    file = tmp_path / "mine.tmpl"
    file.write_text('{{ define "x" }}\n\n{{ .Nope }}{{ end }}', "utf-8")
    with pytest.raises(TemplateError, match=r"template: mine.tmpl:3:3: executing \"x\""):
        expand('{{ template "x" . }}', library=TemplateLibrary.load([file]))


@pytest.mark.parametrize(
    ("before", "value", "written"),
    [
        ("<p>", "<b>&'\"", "&lt;b&gt;&amp;&#39;&#34;"),
        ('<a title="', 'x" onclick="y', "x&#34; onclick=&#34;y"),
        ('<a href="', "javascript:alert(1)", "#ZgotmplZ"),
        ('<a href="', "https://h/a b?c=d&e", "https://h/a%20b?c=d&amp;e"),
        ('<a href="/x?', "a:b", "a:b"),
        ("1 < 2 ", "<", "&lt;"),
    ],
)
def test_html(before: str, value: str, written: str) -> None:
    """Values are escaped for the place they are written to."""
    assert escape_html(value, [before]) == written


@pytest.mark.parametrize("before", ["<script>", "<style> a {", "<a ", "<a href=", '<a onclick="'])
def test_html_refused(before: str) -> None:
    """Where nothing is safe, a value is refused."""
    with pytest.raises(ValueError, match="value"):
        escape_html("x", [before])


def test_safe_html() -> None:
    """Only what a template calls safe is written as it is."""
    assert expand('{{ "<b>" }}{{ safeHtml "<i>" }}', as_html=True) == "&lt;b&gt;<i>"


@given(st.text(), st.integers(1, 20), st.sampled_from(["characters", "bytes"]))
def test_truncation(text: str, size: int, unit: str) -> None:
    """What is cut fits, is a beginning of the text, and no character is cut apart."""
    limit = Limit(size, "bytes" if unit == "bytes" else "characters")
    for cut in (truncate(text, limit), truncate_lines(text, limit)):
        assert fits(cut, limit)
        cut.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
        if fits(text, limit):
            assert cut == text
        elif size > 3 and "\n" not in text:
            assert text.startswith(cut.removesuffix(ELLIPSIS))


def test_truncation_of_alertmanager() -> None:
    """The results are those of Alertmanager's TruncateInRunes and TruncateInBytes."""
    assert truncate("abcdef", Limit(5)) == "abcd\u2026"
    assert truncate("abcdef", Limit(3)) == "abc"
    assert truncate("äöü", Limit(5, "bytes")) == "ä\u2026"
    assert truncate("äöü", Limit(2, "bytes")) == ".."
    assert truncate_lines("one\ntwo\nthree", Limit(9)) == "one\ntwo\n\u2026"[:9]


def test_signatures() -> None:
    """The recipes of Feishu and DingTalk, each other's mirror image, give what openssl gives."""
    assert sign("1599360473\ns3cr3t", "") == "FWybWOj9zQpX2vSqsqPBAll39NxHPOckCTILwEDNjzM="
    assert (
        sign("SECs3cr3t", "1599360473000\nSECs3cr3t")
        == "h3klpz1UA5mvtHS9pM3eL7RIftNvcCZuQl3N69Nf164="
    )


@pytest.mark.parametrize(
    ("url", "fixed"),
    [
        ("https://host/{{ .Status }}", True),
        ("https://host:1/x?{{ .Status }}", True),
        ("https://host{{ .Status }}/", False),
        ("https://{{ .Status }}/", False),
        ("https://user@{{ .Status }}/", False),
        ("{{ .Status }}", False),
        ("https://host", False),
    ],
)
def test_fixed_host(url: str, fixed: bool) -> None:
    """Only a host that ends before the first action is no data's."""
    assert has_fixed_host(url) == fixed


def test_route_labels() -> None:
    """Labels of routes are templates that may mention each other; a circle is left out."""
    raw = Labels(
        {
            "team": "db",
            "page": '{{ routeLabels "team" }}-{{ .Status }}',
            "o": '{{ routeLabels "o" }}',
        }
    )
    notification = make_notification("n1", route_labels=raw)
    data = with_route_labels(TemplateData.of(notification), LIBRARY, Moment(0.0))

    assert dict(data.notification.route_labels) == {"team": "db", "page": "db-firing"}


async def posted(entry: dict[str, object], notification: Notification = NOTIFICATION) -> bytes:
    """Return what an entry of Slack's posts."""
    clock = ManualClock()
    transport = FakeTransport(clock)
    config = good_entry("slack", {"api_url": "http://h/x", **entry})
    with pytest.raises(DeliveryError):  # the transport does not answer as Slack does
        await channel_of(config, transport, clock).deliver(notification)
    return transport.posts[0].body


async def test_failing_template() -> None:
    """A text whose template fails is what it is by default: the notification must arrive."""
    body = await posted({"title": "{{ .Nope }}", "channel": "{{ .Nope }}"})

    assert b"[FIRING:1] Down (z)" in body
    assert b'"channel"' not in body


async def test_failing_address() -> None:
    """A template that says where a message goes has nothing to fall back to."""
    clock = ManualClock()
    config = good_entry("webhook", {"url": "http://h/{{ .Nope }}"})
    channel = channel_of(config, FakeTransport(clock), clock)
    with pytest.raises(DeliveryError) as caught:
        await channel.deliver(NOTIFICATION)

    assert (caught.value.reason, caught.value.permanent) == (FailureReason.TEMPLATE, True)
    assert channel.stats.template_errors == 1


async def test_payload() -> None:
    """A payload of the user's is a template in every text, and structure where it writes some."""
    clock = ManualClock()
    transport = FakeTransport(clock)
    payload = {
        "text": "{{ .Status }}",
        "count": "{{ len .Alerts }}",
        "labels": "{{ toJson .CommonLabels }}",
        "nested": [{"{{ .Status }}": "a: b: c"}, True, None, 3],
    }
    config = good_entry("webhook", {"url": "http://h/x", "payload": payload})
    await channel_of(config, transport, clock).deliver(NOTIFICATION)

    assert transport.posts[0].body == (
        b'{"count":2,"labels":{"alertname":"Down","zone":"z"},'
        b'"nested":[{"firing":"a: b: c"},true,null,3],"text":"firing"}'
    )


async def test_trace_in_an_annotation() -> None:
    """A trace that came with an alert as an annotation is shown once, as a trace."""
    alert = Alert(
        Labels({"alertname": "Down"}),
        Labels({"summary": "s", "trace_id": "1f", "trace_url": "http://jaeger/1f"}),
        START_MS,
    )
    body = await posted({}, make_notification("n1", alerts=(alert,)))

    assert body.count(b"http://jaeger/1f") == 1
    assert b"trace: http://jaeger/1f" in body
