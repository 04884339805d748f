"""The configuration as it is shown: a file for Alertmanager's own tools, without its secrets.

Alertmanager's API hands its file out, and amtool reads the routes from there, strictly. So channels
and keys that only gatewatch has are left out. Routes, inhibition rules and time intervals stay as
they are. In the rest, what could be a secret is hidden by the name of its key; of a URL the host
stays, so that it is still a URL where the tools want one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

import yaml

from alerts.documents import Document
from alerts.notify.secret import HIDDEN
from alerts.routing.format_keys import ALERTMANAGER_GLOBAL_KEYS, ALERTMANAGER_KINDS

_SECRET_KEY: Final = re.compile(
    r"password|secret|token|key|credential|authorization|cookie|signature|webhook"
    r"|(?:^|_)(?:ur[il]|href|src|link|pass|hook)$",
    re.IGNORECASE,
)
_PLACE_KEY: Final = re.compile(r"_(?:file|ref)$|^files$", re.IGNORECASE)
"""Keys that say where a secret is kept."""
_SECRET_SECTIONS: Final = frozenset(
    ("http_headers", "proxy_connect_header", "endpoint_params", "payload")
)
"""Entries whose keys are up to the user, and any of whose values may be a secret."""
_RECEIVER_KEYS: Final = frozenset(
    ("name", "labels", *(f"{kind}_configs" for kind in ALERTMANAGER_KINDS))
)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_URL_IN_TEXT: Final = re.compile(rf"[a-z][a-z0-9+.-]*://(?:{HIDDEN}|[^\s|>\"'])+", re.IGNORECASE)
_TAG: Final = "tag:yaml.org,2002:"
_VISIBLE_TAGS: Final = frozenset((f"{_TAG}null", f"{_TAG}bool"))
_MERGE_TAG: Final = f"{_TAG}merge"
_LINE_WIDTH: Final = 10_000

_Rewrite = Callable[[str, yaml.Node], yaml.Node | None]
"""Returns what becomes of the value of a key; None leaves the entry out."""


def shown_configuration(document: Document) -> str:
    """Return an Alertmanager configuration as YAML that Alertmanager's own tools read.

    Args:
        document: A configuration in which nothing is wrong.
    """
    loader = yaml.SafeLoader(document.source)
    try:
        root = loader.get_node() if loader.check_node() else None
    finally:
        loader.dispose()
    if root is None:
        return ""
    shown = _rewritten(root, _top_entry)
    _write_in_lines(shown, set())
    text: str = yaml.serialize(shown, Dumper=yaml.SafeDumper, allow_unicode=True, width=_LINE_WIDTH)
    return text


def _write_in_lines(node: yaml.Node, seen: set[int]) -> None:
    """Have mappings and lists written without braces and brackets.

    Inside of those PyYAML writes ``17:30`` as ``!!int '17:30'``, which Go's YAML refuses.
    """
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    node.flow_style = False
    for item in node.value:
        for inner in item if isinstance(item, tuple) else (item,):
            _write_in_lines(inner, seen)


def _top_entry(key: str, value: yaml.Node) -> yaml.Node | None:
    if key == "global":
        return _rewritten(value, _global_entry)
    if key == "receivers" and isinstance(value, yaml.SequenceNode):
        return _sequence(value, [_rewritten(item, _receiver_entry) for item in value.value])
    return value


def _global_entry(key: str, value: yaml.Node) -> yaml.Node | None:
    return _hidden_entry(key, value) if key in ALERTMANAGER_GLOBAL_KEYS else None


def _receiver_entry(key: str, value: yaml.Node) -> yaml.Node | None:
    if key not in _RECEIVER_KEYS:
        return None
    return _hidden(value, is_secret=False) if key.endswith("_configs") else value


def _hidden_entry(key: str, value: yaml.Node) -> yaml.Node:
    is_secret = key in _SECRET_SECTIONS or (
        _SECRET_KEY.search(key) is not None
        # The section of http_config; in e-mail it is the name of a header field.
        and not (key == "authorization" and isinstance(value, yaml.MappingNode))
    )
    return _hidden(value, is_secret=is_secret and not _PLACE_KEY.search(key))


def _secret_entry(key: str, value: yaml.Node) -> yaml.Node:
    return _hidden(value, is_secret=not _PLACE_KEY.search(key))


def _hidden(node: yaml.Node, *, is_secret: bool) -> yaml.Node:
    """Return a node without what in it is or could be a secret."""
    if isinstance(node, yaml.MappingNode):
        return _rewritten(node, _secret_entry if is_secret else _hidden_entry)
    if isinstance(node, yaml.SequenceNode):
        return _sequence(node, [_hidden(item, is_secret=is_secret) for item in node.value])
    if not isinstance(node, yaml.ScalarNode) or node.tag in _VISIBLE_TAGS or not node.value:
        return node
    text = _hidden_url(node.value) if is_secret else _URL_IN_TEXT.sub(_hidden_match, node.value)
    if text == node.value:
        return node
    return yaml.ScalarNode(f"{_TAG}str", text, style=None if is_secret else node.style)


def _hidden_match(found: re.Match[str]) -> str:
    return _hidden_url(found[0])


def _hidden_url(text: str) -> str:
    """Return what may be seen of a secret: of a URL its scheme and host, otherwise nothing."""
    if not _URL.fullmatch(text):
        return HIDDEN
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        is_plain = parts.scheme in ("http", "https") and parts.port != 0 and "{" not in host
    except ValueError:
        return HIDDEN
    if not is_plain or not host:
        return HIDDEN
    if text in (f"{parts.scheme}://{host}", f"{parts.scheme}://{host}/"):
        return text
    return f"{parts.scheme}://{host}/{HIDDEN}"


def _rewritten(node: yaml.Node, rewrite: _Rewrite) -> yaml.Node:
    """Return a mapping with its entries rewritten, those that ``<<`` brings in included."""
    if not isinstance(node, yaml.MappingNode):
        return node
    return yaml.MappingNode(node.tag, list(_entries(node, rewrite)))


def _entries(node: yaml.MappingNode, rewrite: _Rewrite) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    for key, value in node.value:
        if key.tag == _MERGE_TAG:
            if isinstance(value, yaml.SequenceNode):
                yield key, _sequence(value, [_rewritten(one, rewrite) for one in value.value])
            else:
                yield key, _rewritten(value, rewrite)
        elif (shown := rewrite(str(key.value), value)) is not None:
            yield key, shown


def _sequence(node: yaml.SequenceNode, items: list[yaml.Node]) -> yaml.SequenceNode:
    return yaml.SequenceNode(node.tag, items)
