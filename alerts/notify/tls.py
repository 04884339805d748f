"""Contexts for TLS connections, made from options."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path
from typing import Final

from alerts.notify.transport import TLSOptions, TransportError

_VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


class TLSContexts:
    """Makes contexts and keeps them, as connections are reused by context.

    Files are read again when they change.
    """

    def __init__(self) -> None:
        self._contexts: dict[TLSOptions, tuple[tuple[float, ...], ssl.SSLContext]] = {}

    def context(self, options: TLSOptions) -> ssl.SSLContext:
        """Return the context of options. Reads files, so call it off the event loop.

        Raises:
            TransportError: A file or text cannot be used; says which.
        """
        changed = _changed(options)
        known = self._contexts.get(options)
        if known is None or known[0] != changed:
            known = self._contexts[options] = (changed, make_context(options))
        return known[1]


def _changed(options: TLSOptions) -> tuple[float, ...]:
    files = (options.ca_file, options.cert_file, options.key_file)
    return tuple(
        Path(file).stat().st_mtime if Path(file).is_file() else 0.0 for file in files if file
    )


def make_context(options: TLSOptions) -> ssl.SSLContext:
    """Return a new context.

    Raises:
        TransportError: A file or text cannot be used; says which.
    """
    try:
        context = ssl.create_default_context(
            cafile=options.ca_file or None, cadata=options.ca or None
        )
    except (OSError, ssl.SSLError, ValueError) as error:
        what = options.ca_file or "the text of ca"
        raise TransportError(f"TLS: cannot use {what}: {error}") from None
    if options.min_version:
        context.minimum_version = _VERSIONS[options.min_version]
    if options.max_version:
        context.maximum_version = _VERSIONS[options.max_version]
    if options.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.cert or options.cert_file:
        _load_certificate(context, options)
    return context


def _load_certificate(context: ssl.SSLContext, options: TLSOptions) -> None:
    key = options.key.reveal() if options.key is not None else ""
    # The library reads certificates and keys from files only.
    written: list[str] = []
    try:
        cert_file = options.cert_file or _written(options.cert, written)
        key_file = options.key_file or _written(key, written)
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        what = options.cert_file or "the text of cert"
        message = f"TLS: cannot use {what} with its key: {type(error).__name__}"
        raise TransportError(message) from None
    finally:
        for name in written:
            Path(name).unlink(missing_ok=True)


def _written(text: str, written: list[str]) -> str:
    descriptor, name = tempfile.mkstemp(prefix="gatewatch-", suffix=".pem")  # mode 0600
    written.append(name)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return name
