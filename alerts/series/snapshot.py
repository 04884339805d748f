"""The series store on disk: written now and then, read back at the start.

One file: magic, version, length of the header, length of the samples; the header, JSON, with the
labels and the shapes of the arrays; the arrays as raw little-endian buffers; a BLAKE2b digest of
all that comes before it. It is written beside its place, synced and renamed, so that its place
holds a whole snapshot at any time; and nothing of a file is used before its digest has been found
right. A file that cannot be used is set aside and the store starts empty: samples are not worth
keeping the process from starting.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import numpy as np
from numpy.typing import NDArray

from alerts.errors import AlertsError
from alerts.series.labels import Labels
from alerts.series.source import SourceImage
from alerts.series.store import SeriesStore

_log = logging.getLogger(__name__)

SNAPSHOT_FILE: Final = "series.snapshot"
"""The usual name of the file, in the data directory."""

_MAGIC: Final = b"gwseries"
_VERSION: Final = 1
_PREFIX: Final = struct.Struct("<8sIQQ")
_DIGEST_BYTES: Final = 32

SnapshotProblem = Literal["torn", "foreign", "newer", "damaged"]


class SnapshotError(AlertsError):
    """A snapshot that cannot be used; nothing of it was.

    Attributes:
        reason: torn: its length is wrong; foreign: another program's file; newer: of a version
            that is not known; damaged: its contents are not what was written.
    """

    def __init__(self, reason: SnapshotProblem, message: str) -> None:
        self.reason: SnapshotProblem = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class SnapshotSize:
    """How much a snapshot holds."""

    series: int
    bytes: int


class SnapshotFile:
    """The snapshot of one store. Its methods block: call them off the event loop."""

    def __init__(self, path: Path, store: SeriesStore) -> None:
        self._path = path
        self._store = store
        self._lock = threading.Lock()

    def save(self) -> SnapshotSize:
        """Write all of the store, as it is at this moment.

        Raises:
            OSError: The file cannot be written; the one before is still there.
        """
        with self._lock:
            images = [image for image in self._store.images() if image.chunks]
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_name(self._path.name + ".tmp")
            with open(temporary, "wb", opener=_private) as file:
                written = write_images(images, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            _sync_directory(self._path.parent)
        return SnapshotSize(_series_in(images), written)

    def load(self) -> SnapshotSize | None:
        """Restore the store, which must be empty, and say how much that was; None: nothing.

        A file that cannot be used is logged with the reason and set aside.
        """
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    images = read_images(file)
                    size = file.tell()
            except FileNotFoundError:
                return None
            except OSError as error:
                _log.error("the snapshot %s cannot be read: %s", self._path, error.strerror)
                return None
            except SnapshotError as error:
                self._set_aside(error)
                return None
        self._store.restore(images)
        return SnapshotSize(_series_in(images), size)

    def _set_aside(self, error: SnapshotError) -> None:
        aside = self._path.with_name(f"{self._path.name}.{error.reason}")
        _log.error(
            "the snapshot %s is not used, as it is %s: %s; the series begin anew, and the file is "
            "kept as %s",
            self._path,
            error.reason,
            error,
            aside.name,
        )
        try:
            self._path.replace(aside)
        except OSError as failure:
            _log.error("the snapshot %s cannot be renamed: %s", self._path, failure.strerror)


def write_images(images: list[SourceImage], file: BinaryIO) -> int:
    """Write a snapshot and return its length in bytes."""
    header = json.dumps(
        {"sources": [_described(image) for image in images]},
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
    arrays = [_plain(array) for image in images for chunk in image.chunks for array in chunk]
    samples_length = sum(array.nbytes for array in arrays)
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    written = 0
    prefix = _PREFIX.pack(_MAGIC, _VERSION, len(header), samples_length)
    pieces: list[bytes | memoryview] = [prefix, header]
    pieces += [_buffer(array) for array in arrays]
    for piece in pieces:
        digest.update(piece)
        written += file.write(piece)
    return written + file.write(digest.digest())


def read_images(file: BufferedReader) -> list[SourceImage]:
    """Read a snapshot, all of it or nothing.

    Raises:
        SnapshotError: It is not exactly what ``write_images`` wrote.
    """
    length = os.fstat(file.fileno()).st_size
    prefix = file.read(_PREFIX.size)
    if not prefix.startswith(_MAGIC[: len(prefix)]):
        raise SnapshotError("foreign", "it does not begin as a snapshot does")
    if len(prefix) < _PREFIX.size:
        raise SnapshotError("torn", f"it ends after {length} bytes")
    _, version, header_length, samples_length = _PREFIX.unpack(prefix)
    if version != _VERSION:
        raise SnapshotError("newer", f"its version is {version}, and {_VERSION} is what is known")
    expected = _PREFIX.size + header_length + samples_length + _DIGEST_BYTES
    if length != expected:
        raise SnapshotError("torn", f"it has {length} bytes instead of {expected}")
    digest = hashlib.blake2b(prefix, digest_size=_DIGEST_BYTES)
    header = file.read(header_length)
    digest.update(header)
    samples = np.empty(samples_length // 8, dtype="<i8")
    _fill(file, samples, digest)
    if digest.digest() != file.read(_DIGEST_BYTES):
        raise SnapshotError("damaged", "its digest does not match its contents")
    try:
        return list(_images(json.loads(header), samples))
    except (ValueError, TypeError, KeyError) as error:
        raise SnapshotError("damaged", f"its header makes no sense: {error}") from error


def _described(image: SourceImage) -> dict[str, Any]:
    return {
        "name": image.name,
        "newest_ms": image.newest_ms,
        "labels": [None if labels is None else dict(labels) for labels in image.labels],
        "gone_ms": list(image.gone_ms.items()),
        "chunks": [values.shape for _, values in image.chunks],
        "has_gaps": image.has_gaps,
    }


def _images(header: dict[str, Any], samples: NDArray[np.int64]) -> Iterator[SourceImage]:
    at = 0

    def array(size: int) -> NDArray[np.int64]:
        nonlocal at
        # A copy: a view would keep all of the file in memory as long as one chunk lives.
        taken = samples[at : at + size].astype(np.int64)
        if len(taken) != size:
            raise ValueError("it names more samples than there are")
        at += size
        return taken

    for source in header["sources"]:
        chunks = []
        for columns, rows in source["chunks"]:
            times = array(columns)
            chunks.append((times, array(columns * rows).view(np.float64).reshape(columns, rows)))
        yield SourceImage(
            source["name"],
            source["newest_ms"],
            tuple(None if labels is None else Labels(labels) for labels in source["labels"]),
            {int(row): int(gone_ms) for row, gone_ms in source["gone_ms"]},
            tuple(chunks),
            bool(source.get("has_gaps", False)),
        )


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as the file has it: contiguous and little-endian."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _buffer(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _fill(file: BufferedReader, array: NDArray[Any], digest: hashlib.blake2b) -> None:
    buffer = _buffer(array)
    while buffer:
        count = file.readinto(buffer)
        if not count:
            raise SnapshotError("torn", "it became shorter while it was read")
        digest.update(buffer[:count])
        buffer = buffer[count:]


def _series_in(images: list[SourceImage]) -> int:
    return sum(labels is not None for image in images for labels in image.labels)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
