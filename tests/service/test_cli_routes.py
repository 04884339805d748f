"""`gatewatch routes`: what it prints and how it exits."""

import json
from pathlib import Path

import pytest

from tests.support.command import Outcome, gatewatch, gatewatch_inside

CONFIG = "alerts: {alertmanager_config: am.yml}\n"
ROUTES = """\
route:
  receiver: default
  group_by: [alertname]
  routes:
    - matchers: ['severity="page"']
      receiver: pager
      continue: true
      group_wait: 0s
      mute_time_intervals: [night]
    - matchers: [team=~"db|cache"]
      receiver: storage
      group_by: ['...']
      routes:
        - matchers: [team=db]
          labels: {a: b}
receivers: [{name: default}, {name: pager}, {name: storage}]
time_intervals: [{name: night, time_intervals: []}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a configuration and routes."""
    (tmp_path / "gatewatch.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "am.yml").write_text(ROUTES, encoding="utf-8")
    return tmp_path


def lines(done: Outcome) -> list[str]:
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def test_receivers_of_an_alert(folder: Path):
    """Each receiver an alert reaches stands on a line, with its route and the alert's group."""
    done = gatewatch("routes", "test", "alertname=A", "team=db", "severity=page", directory=folder)

    assert lines(done) == [
        'pager\t{}/{severity="page"}\t{alertname="A"}',
        'storage\t{}/{team=~"db|cache"}/{team="db"}\t{alertname="A", severity="page", team="db"}',
    ]


def test_no_labels_reach_the_root(folder: Path):
    """An alert that no route matches goes to the receiver of the root route."""
    assert lines(gatewatch_inside("routes", "test", directory=folder)) == ["default\t{}\t{}"]


def test_receivers_for_machines(folder: Path):
    """With --json the same is data."""
    done = gatewatch_inside(
        "routes", "test", "severity=page", '"a b"=c', "--json", directory=folder
    )

    assert json.loads(done.out) == {
        "ok": True,
        "labels": {"a b": "c", "severity": "page"},
        "receivers": [
            {
                "receiver": "pager",
                "route": '{}/{severity="page"}',
                "group_labels": {},
                "mute_time_intervals": ["night"],
                "active_time_intervals": [],
            }
        ],
    }


def test_verified_receivers(folder: Path):
    """With --verify-receivers the exit code is 1 unless just these are reached, in this order."""
    alert = ("routes", "test", "severity=page", "team=cache", "--verify-receivers")

    good = gatewatch_inside(*alert, "pager,storage", directory=folder)
    bad = gatewatch_inside(*alert, "storage,pager", directory=folder)

    assert len(lines(good)) == 2
    assert (bad.code, bad.out) == (1, good.out)
    assert bad.err == "routes: expected storage,pager, but it reaches pager,storage\n"


def test_the_way_of_an_alert(folder: Path):
    """With --tree the routes an alert goes through come first."""
    done = gatewatch_inside("routes", "test", "team=db", "--tree", directory=folder)

    assert lines(done)[:3] == [
        "{}  receiver: default  group_by: [alertname]  group_wait: 30s  group_interval: 5m"
        "  repeat_interval: 4h",
        '└── {team=~"db|cache"}  receiver: storage  group_by: [...]',
        '    └── {team="db"}  receiver: storage',
    ]


def test_the_tree(folder: Path):
    """`routes show` prints every route, and of each what differs from the one above."""
    assert lines(gatewatch_inside("routes", "show", directory=folder))[1:] == [
        '├── {severity="page"}  receiver: pager  group_wait: 0s  mute_time_intervals: [night]'
        "  continue: true",
        '└── {team=~"db|cache"}  receiver: storage  group_by: [...]',
        '    └── {team="db"}  receiver: storage',
    ]


def test_the_tree_for_machines(folder: Path):
    """With --json the tree is data, with what each route inherits."""
    tree = json.loads(gatewatch_inside("routes", "show", "--json", directory=folder).out)
    db = tree["routes"][1]["routes"][0]

    assert [route["receiver"] for route in tree["routes"]] == ["pager", "storage"]
    assert (db["route"], db["matchers"]) == ('{}/{team=~"db|cache"}/{team="db"}', ['team="db"'])
    assert (db["group_by"], db["labels"], db["group_wait_s"]) == (["..."], {"a": "b"}, 30.0)


def test_inhibition_between_checks_is_shown(folder: Path):
    """`routes show` has the rules of the file, and those that follow from what checks depend on."""
    own = "inhibit_rules:\n  - {source_matchers: [a=b], target_matchers: [c=d], equal: [e]}\n"
    (folder / "am.yml").write_text(ROUTES + own, encoding="utf-8")
    (folder / "gatewatch.yaml").write_text(
        CONFIG + "health:\n"
        "  checks:\n"
        "    - {name: db, tcp: {address: 'localhost:1'}}\n"
        "    - {name: web, tcp: {address: 'localhost:2'}, depends_on: [db]}\n",
        encoding="utf-8",
    )
    shown = gatewatch_inside("routes", "show", directory=folder)
    data = json.loads(gatewatch_inside("routes", "show", "--json", directory=folder).out)

    assert lines(shown)[-2:] == [
        'inhibition: {a="b"} inhibits {c="d"}  equal: [e]',
        'inhibition: {check="db",severity!~"warning|info|none"} inhibits {check=~"web"}'
        "  name: checks that depend on db",
    ]
    assert [rule["name"] for rule in data["inhibit_rules"]] == ["", "checks that depend on db"]


def test_without_a_file_alerts_go_to_the_log(tmp_path: Path):
    """Without a configuration every alert is a group of its own, written to the log."""
    done = gatewatch_inside("routes", "test", "alertname=A", directory=tmp_path)

    assert lines(done) == ['log\t{}\t{alertname="A"}']


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("a!=b", "'a!=b' is no label of an alert, which has one value: write LABEL=VALUE"),
        ("a", "'a' is no label: the text ends where an operator"),
    ],
)
def test_what_is_no_label(folder: Path, label: str, said: str):
    """Labels are written as LABEL=VALUE; anything else is a usage error."""
    done = gatewatch_inside("routes", "test", label, directory=folder)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_bad_file(folder: Path):
    """Problems of the routes are listed, and the exit code is 2."""
    (folder / "am.yml").write_text("route: {receiver: a}\n", encoding="utf-8")

    done = gatewatch_inside("routes", "show", directory=folder)

    assert (done.code, done.out) == (2, "")
    assert done.err == f"{folder}/am.yml:1:19: there is no receiver 'a'; none is defined\n"


def test_config_check_reads_the_routes(folder: Path):
    """`config check` lists what is wrong with the routes too."""
    (folder / "am.yml").write_text(ROUTES + "tracing: {}\n", encoding="utf-8")

    done = gatewatch_inside("config", "check", directory=folder)

    assert (done.code, done.out) == (1, "")
    assert "am.yml:18:1: tracing: gatewatch's own configuration says" in done.err
