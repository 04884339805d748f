"""amtool and our routes: the same files, the same receivers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
import yaml

from alerts.documents import parse_document
from alerts.errors import DocumentError
from alerts.routing.hide import shown_configuration
from alerts.routing.matchers import format_matcher
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from tests.external.child import run
from tests.support.routing import routing

TREES: Final = 40
ALERTS_EACH: Final = 6
NAMES: Final = ("a", "b", "c")
VALUES: Final = ("", "1", "2", "x y", 'q"', "ü")
MATCHERS: Final = (
    *('{name}="{value}"', '{name}!="{value}"', "{name}=1", "{name}!=2"),
    *('{name}=~"1|2"', '{name}!~"1.*"', '{name}=~".+"', '{{{name}="1", {other}!="2",}}'),
)


@pytest.fixture
def amtool(program: Callable[[str], Path]) -> Path:
    """Return where amtool is."""
    return program("alertmanager") / "amtool"


def random_route(random: Random, depth: int) -> dict[str, Any]:
    """Return a route with up to three levels below it."""
    route: dict[str, Any] = {}
    for _ in range(random.choice((1, 1, 2))):
        value = random.choice(VALUES).replace('"', '\\"')
        name, other = random.sample(NAMES, 2)
        text = random.choice(MATCHERS).format(name=name, other=other, value=value)
        route.setdefault("matchers", []).append(text)
    if random.random() < 0.2:
        route["match"] = {random.choice(NAMES): random.choice(VALUES)}
    if random.random() < 0.2:
        route["match_re"] = {random.choice(NAMES): random.choice(("1|2", ".*", "x.+"))}
    if random.random() < 0.7:
        route["receiver"] = random.choice("rstuv")
    if random.random() < 0.4:
        route["continue"] = True
    if depth and random.random() < 0.7:
        route["routes"] = random_routes(random, depth - 1)
    return route


def random_routes(random: Random, depth: int) -> list[dict[str, Any]]:
    """Return one to four siblings."""
    return [random_route(random, depth) for _ in range(random.randint(1, 4))]


async def test_alerts_reach_the_receivers_that_amtool_says(amtool: Path, tmp_path: Path):
    """For random trees and alerts, amtool and gatewatch name the same receivers in their order."""
    random = Random(4)
    file = tmp_path / "am.yml"
    receivers = [{"name": name} for name in "rstuv"]
    for _ in range(TREES):
        route = {"receiver": "r", "routes": random_routes(random, 2)}
        file.write_text(yaml.safe_dump({"route": route, "receivers": receivers}), "utf-8")
        ours = routing(file.read_text("utf-8"))
        for _ in range(ALERTS_EACH):
            alert = {name: random.choice(VALUES) for name in NAMES if random.random() < 0.8}
            labels = [format_matcher(Matcher(MatchOp.EQUAL, *pair)) for pair in alert.items()]
            test = (amtool, "config", "routes", "test", "--config.file", file)
            code, said = await run(*test, *labels, folder=tmp_path)

            assert code == 0, said
            found = ",".join(one.receiver for one in ours.route.matching(Labels(alert)))
            assert said.splitlines()[-1] == found, (file.read_text("utf-8"), alert)


SHOP: Final = """\
global:
  smtp_smarthost: mail:25
  smtp_from: me@shop
  smtp_auth_password: S3CR3T
  slack_api_url: https://hooks.slack.com/S3CR3T
  opsgenie_api_key: S3CR3T
  http_config: {proxy_url: "http://me:S3CR3T@proxy:3128"}
templates: []
route:
  receiver: all
  group_by: [alertname]
  routes:
    - matchers: [severity=page]
      receiver: webhooks
      active_time_intervals: [work]
time_intervals:
  - name: work
    time_intervals: [{times: [{start_time: 09:00, end_time: 17:30}], weekdays: ['monday:friday']}]
inhibit_rules:
  - {source_matchers: [a="b"], target_matchers: [c=~"d|e"], equal: [alertname]}
receivers:
  - name: all
    email_configs: [{to: ops@shop, headers: {Authorization: S3CR3T}}]
    slack_configs:
      - channel: c
        title_link: https://h/S3CR3T
        actions: [{type: button, text: t, url: "https://h/S3CR3T"}]
    pagerduty_configs: [{routing_key: S3CR3T, url: "https://events.eu.pagerduty.com/S3CR3T"}]
    opsgenie_configs: [{message: m}]
    telegram_configs: [{bot_token: S3CR3T, chat_id: -5, api_url: "https://tg/S3CR3T"}]
    discord_configs: [{webhook_url: "https://discord/S3CR3T"}]
    victorops_configs: [{api_key: S3CR3T, routing_key: S3CR3T}]
    pushover_configs: [{user_key: S3CR3T, token: S3CR3T, url: "https://h/S3CR3T"}]
    wechat_configs: [{api_secret: S3CR3T, corp_id: c}]
    webex_configs: [{room_id: r, http_config: {authorization: {credentials: S3CR3T}}}]
    sns_configs:
      - topic_arn: arn:aws:sns:eu:1:t
        sigv4: {access_key: S3CR3T, secret_key: S3CR3T}
    feishu_configs: [{url: "https://open.feishu.cn/S3CR3T"}]
  - name: webhooks
    webhook_configs:
      - url: https://h/S3CR3T
        max_alerts: 5
        http_config:
          tls_config: {ca_file: ca.pem, insecure_skip_verify: true}
          oauth2:
            client_id: me
            client_secret: S3CR3T
            token_url: https://h/S3CR3T
            endpoint_params: {aud: S3CR3T}
"""


async def test_amtool_reads_what_is_shown(amtool: Path, tmp_path: Path):
    """A file with every channel of Alertmanager stays valid for amtool once secrets are hidden."""
    shown = shown_configuration(parse_document(SHOP, "am.yml"))
    (tmp_path / "am.yml").write_text(shown, "utf-8")

    code, said = await run(amtool, "check-config", "am.yml", folder=tmp_path)

    assert code == 0, f"{said}\n{shown}"
    assert "S3CR3T" not in shown


INTERVALS: Final = (
    *("{weekdays: [monday, 'tuesday:friday']}", "{weekdays: ['friday:monday']}"),
    *("{weekdays: [Monday]}", "{weekdays: [mon]}", "{weekdays: [1]}", "{weekdays: monday}"),
    *("{days_of_month: ['1:5', '-3:-1', 31]}", "{days_of_month: [0]}", "{days_of_month: ['5:1']}"),
    *("{days_of_month: ['-1:5']}", "{days_of_month: [32]}", "{days_of_month: ['1:-1']}"),
    *("{months: [january, '3:5', 'May:august']}", "{months: ['5:3']}", "{months: [jan]}"),
    *("{years: [2024, '2025:2030']}", "{years: ['2030:2025']}", "{years: [x]}"),
    *("{times: [{start_time: 09:00, end_time: 24:00}]}", "{times: [{start_time: 09:00}]}"),
    *("{times: [{start_time: 9:00, end_time: 10:00}]}", "{times: []}", "{}", "{hours: []}"),
    *("{times: [{start_time: 10:00, end_time: 10:00}]}", "{location: Europe/Berlin}"),
    *("{location: Nowhere/Else}", "{location: Local}", "{location: ''}"),
)


@pytest.mark.parametrize("interval", INTERVALS)
async def test_time_intervals_are_accepted_as_by_amtool(
    amtool: Path, tmp_path: Path, interval: str
):
    """amtool and gatewatch accept the same time intervals."""
    text = (
        "route: {receiver: r}\nreceivers: [{name: r}]\n"
        f"time_intervals: [{{name: t, time_intervals: [{interval}]}}]\n"
    )
    (tmp_path / "am.yml").write_text(text, "utf-8")
    code, said = await run(amtool, "check-config", "am.yml", folder=tmp_path)

    try:
        routing(text)
    except DocumentError as error:
        assert code == 1, f"{error}\n{said}"
    else:
        assert code == 0, said
