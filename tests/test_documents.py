"""The documents are true: links, snippets, tables and lists agree with the code."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.clock import ManualClock
from alerts.series.store import SeriesStore
from service import __version__
from service.config.settings import Settings
from service.config.shapes import dotted, settings_shape
from service.config.show import plain
from tests.support.command import gatewatch_inside

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```(\S*)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")
PACKS = ("gatewatch", "checks")
CHANGES = {"Security", "Removed", "Deprecated", "Added", "Changed", "Fixed"}


@dataclass(frozen=True)
class Snippet:
    """A fenced block; ``file`` is the second word of its first line."""

    language: str
    file: str
    text: str


def snippets(document: Path) -> list[Snippet]:
    return [Snippet(*found) for found in FENCE.findall(document.read_text("utf-8"))]


def of_language(*languages: str) -> list[Any]:
    return [
        pytest.param(snippet.text, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, snippet in enumerate(snippets(document))
        if snippet.language in languages
    ]


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to headings."""
    text = FENCE.sub("", document.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def write_files(document: Path, directory: Path) -> None:
    """Write every snippet that names a file, except configurations, of which there are several."""
    for snippet in snippets(document):
        if snippet.file and snippet.file != "gatewatch.yaml":
            file = directory / snippet.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(snippet.text, "utf-8")


def listed(document: str, marker: str) -> list[str]:
    """Return the names in the paragraph after a marker."""
    _, _, rest = (ROOT / document).read_text("utf-8").partition(f"<!-- {marker} -->\n")
    return re.findall(r"`([\w.]+)`", rest.partition("\n\n")[0])


def leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting that is no section, by its dotted path."""
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from leaves(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", inner


def cell(value: object) -> str:
    """Return a default as the tables write it."""
    if value is None:
        return "unset"
    if value in ("", [], {}):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every link inside the project names a file that is there, and a heading in it."""
    text = FENCE.sub("", document.read_text("utf-8"))
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_configurations_are_good(document: Path, tmp_path: Path) -> None:
    """Each configuration in a document, with the files it names, passes ``config check``."""
    write_files(document, tmp_path)
    for snippet in snippets(document):
        if snippet.file == "gatewatch.yaml":
            (tmp_path / "gatewatch.yaml").write_text(snippet.text, "utf-8")

            outcome = gatewatch_inside("config", "check", directory=tmp_path)

            assert outcome.code == 0, outcome.err


def test_shipped_configuration_takes_all_additions(tmp_path: Path) -> None:
    """What the README adds to the end of the shipped gatewatch.yaml goes together."""
    readme = ROOT / "README.md"
    write_files(readme, tmp_path)
    added = [one.text for one in snippets(readme) if one.file == "gatewatch.yaml"]
    shipped = (ROOT / "gatewatch.yaml").read_text("utf-8")
    (tmp_path / "gatewatch.yaml").write_text("\n".join([shipped, *added]), "utf-8")

    outcome = gatewatch_inside("config", "check", directory=tmp_path)

    assert len(added) == 3
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_rule_files_are_good(document: Path, tmp_path: Path) -> None:
    """Each rule file in a document passes ``rules check``."""
    write_files(document, tmp_path)
    files = sorted(str(path) for path in tmp_path.rglob("*.yaml"))
    if files:
        outcome = gatewatch_inside("rules", "check", *files, directory=tmp_path)

        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_unit_tests_of_rules_pass(document: Path, tmp_path: Path) -> None:
    """Each unit test of rules in a document passes ``rules test``."""
    write_files(document, tmp_path)
    files = sorted(str(path) for path in tmp_path.rglob("*-test.yml"))
    if files:
        outcome = gatewatch_inside("rules", "test", *files, directory=tmp_path)

        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_routes_are_good(document: Path, tmp_path: Path) -> None:
    """Each Alertmanager configuration in a document is accepted."""
    write_files(document, tmp_path)
    if (tmp_path / "alertmanager.yml").exists():
        option = "alerts.alertmanager_config=alertmanager.yml"
        outcome = gatewatch_inside("config", "check", "--set", option, directory=tmp_path)

        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("text", of_language("sh"))
def test_shell_snippets_parse(text: str) -> None:
    """Every shell snippet is a script that a shell understands."""
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", of_language("python"))
def test_python_snippets_compile(text: str) -> None:
    """Every Python snippet compiles."""
    compile(text, "snippet", "exec")


def test_every_setting_is_documented() -> None:
    """Each key of the settings has a row or a heading in docs/configuration.md."""
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    for path in settings_shape().paths():
        key = dotted(path)

        assert f"| `{key}` |" in page or f"### {key}" in page or f"`{key}." in page, key


def test_defaults_are_documented() -> None:
    """The rows of docs/configuration.md give the defaults that settings without a file have."""
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| .+? \| (.+?) \| .+ \|$", page, re.MULTILINE)

    assert {path: cell(value) for path, value in leaves(plain(Settings()))} == dict(rows)


def test_what_is_written_from_the_code_is_current() -> None:
    """Writing tables and dashboards again would change nothing."""
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_functions_are_listed() -> None:
    """docs/alerting.md lists the functions and aggregations that can be used, and no others."""
    # Imported here, so that a change in these modules costs this test alone.
    from alerts.promql.signatures import AGGREGATIONS, FUNCTIONS  # noqa: PLC0415
    from alerts.rules import template_functions as templates  # noqa: PLC0415

    stable = [name for name, signature in FUNCTIONS.items() if not signature.experimental]
    of_templates = {*templates.FUNCTIONS, *templates.CONTEXT_FUNCTIONS}
    assert listed("docs/alerting.md", "functions") == sorted(stable)
    assert listed("docs/alerting.md", "aggregations") == sorted(AGGREGATIONS)
    assert listed("docs/alerting.md", "template functions") == sorted(of_templates)


def test_reloadable_settings_are_listed() -> None:
    """docs/configuration.md lists the settings that take effect at a reload."""
    from service.reloading import RELOADABLE  # noqa: PLC0415

    assert listed("docs/configuration.md", "reloadable") == sorted(RELOADABLE)


def test_paths_of_the_query_api_are_listed() -> None:
    """docs/alerting.md lists the paths of the Prometheus HTTP API, and no others."""
    from alerts.api.pool import QueryPool  # noqa: PLC0415
    from alerts.api.prometheus import PrometheusParts, ServerInfo, prometheus_routes  # noqa: PLC0415
    from alerts.promql.engine import Engine  # noqa: PLC0415

    clock = ManualClock()
    store = SeriesStore(clock=clock, retention_s=60)
    parts = PrometheusParts(
        Engine(store),
        store,
        find_rules=lambda: None,
        metadata=tuple,
        pool=QueryPool(clock=clock),
        clock=clock,
        info=ServerInfo("", "", 0.0, 60.0, {}),
    )
    there = {route.path.removeprefix("/api/v1/") for route in prometheus_routes(parts)}
    _, _, page = (ROOT / "docs/alerting.md").read_text("utf-8").partition("## Queries over HTTP")
    rows = re.findall(r"^\| (`.+?) \|", page.partition("\n## ")[0], re.MULTILINE)

    assert {path.replace("NAME", "{name}") for path in re.findall("`(.+?)`", str(rows))} == there


def test_shipped_rules_are_listed() -> None:
    """docs/alerting.md lists the shipped rules in their order, with their severities."""
    folder = ROOT / "alerts/rules/packs"
    packs = [yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8")) for name in PACKS]
    shipped = [
        (rule["alert"], rule["labels"]["severity"])
        for pack in packs
        for group in pack["groups"]
        for rule in group["rules"]
    ]
    page = (ROOT / "docs/alerting.md").read_text("utf-8")

    assert re.findall(r"^\| `(\w+)` \| (critical|warning) \|", page, re.MULTILINE) == shipped


def tree() -> set[str]:
    """Return the paths in the tree of docs/architecture.md, from the root."""
    [text] = [
        snippet.text
        for snippet in snippets(ROOT / "docs/architecture.md")
        if snippet.file == "tree"
    ]
    paths: set[str] = set()
    above: list[str] = []
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], line.split()[0]]
        paths.add("".join(above))
    return paths


def test_tree_is_the_folder() -> None:
    """The tree of docs/architecture.md names every package and every module beside them."""
    there = {
        f"{package}/{path.name}"
        for package in ("service", "alerts")
        for path in (ROOT / package).glob("*.py")
        if path.name != "__init__.py"
    }
    inside = {path.parent for top in ("service", "alerts") for path in (ROOT / top).rglob("*.py")}
    there |= {f"{path.relative_to(ROOT).as_posix()}/" for path in inside}
    shown = tree()

    assert {path for path in shown if not (ROOT / path).exists()} == set()
    assert there - shown == {"alerts/storage/migrations/versions/"}


def test_changelog_follows_the_version() -> None:
    """The changelog has an Unreleased section, known headings, and the version as its newest."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    sections = re.findall(r"^## \[([^\]]+)\]", text, re.MULTILINE)
    versions = [tuple(map(int, version.split("."))) for version in sections[1:]]

    assert sections[0] == "Unreleased"
    assert versions == sorted(versions, reverse=True)
    assert not versions or sections[1] == __version__
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= CHANGES
