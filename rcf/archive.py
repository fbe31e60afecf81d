"""Many forests <-> one file, slab by slab, so that a million series need no second memory.

    magic "RCFA" | version u16 | entries: number u64 | length u64 | BLAKE2b-128 | payload

all little-endian; the digest is that of number, length and payload. The entries are

    1. series in all:   their seed and the template, which every series starts as
    2. series in slab:  for each slab, the sections of `SAVED` of its blocks, one after the other
    3. a series:        for each one that has been given more room
    4. 0                nothing: the end

where the template and single series are payloads of `rcf.snapshot`, in archives of version 1 those
of its version 4. What follows from the sections
that are saved is recomputed on load.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rcf import run, state
from rcf.errors import SnapshotError
from rcf.forests import Forests
from rcf.snapshot import block_from_payload, payload_of_block
from rcf.state import U8, Shape

VERSION = 2

#: The version of the payloads in an archive of each version that can be read.
PAYLOADS = {1: 4, 2: 5}

#: Sections that hold information, and the masses that lie among the nodes.
SAVED = (
    *("header", "reals", "rng", "due", "sizes", "free_slots", "free_pairs", "nodes"),
    *("keys", "origins", "leaves", "kept_uses", "store"),
)

#: Called with (series done, series in all).
Progress = Callable[[int, int], None]

_HEAD = struct.Struct("<4sH")
_SEED = struct.Struct("<Q")
_FRONT = struct.Struct("<QQ")
_MAGIC = b"RCFA"
_DIGEST = 16


def save(forests: Forests, path: Path, progress: Progress | None = None) -> None:
    """Write all series to a file, which replaces another of that name when it is whole.

    Where that fails (a full disk, say), nothing is left of it.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            _write_all(forests, file, progress)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _write_all(forests: Forests, file: BinaryIO, progress: Progress | None) -> None:
    file.write(_HEAD.pack(_MAGIC, VERSION))
    start = (_SEED.pack(forests.seed), *payload_of_block(forests.template))
    _write(file, len(forests), b"".join(start))
    done = 0
    parts = _parts(forests.shape)
    for slab in forests.slabs:
        _write(file, len(slab), b"".join(slab[:, part].tobytes() for part in parts))
        done += len(slab)
        if progress:
            progress(done, len(forests))
    for number, block in forests.grown.items():
        _write(file, number, b"".join(payload_of_block(block)))
    _write(file, 0, b"")


def load(path: Path, progress: Progress | None = None) -> Forests:
    """Read what `save` wrote; it goes on bit for bit.

    Raises:
        SnapshotError: The file is damaged, cut short, or of an unknown version.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(_MAGIC):
            raise SnapshotError("this file holds no forests: it does not start with RCFA")
        version = _HEAD.unpack(head)[1]
        if version not in PAYLOADS:
            known = f"{min(PAYLOADS)} to {VERSION}"
            raise SnapshotError(f"archive version {version}; this release reads versions {known}")
        payloads = PAYLOADS[version]
        entries = _entries(file)
        series, start = next(entries, (0, b""))
        if len(start) < _SEED.size:
            raise SnapshotError("archive inconsistent: it names no seed")
        template = block_from_payload(memoryview(start)[_SEED.size :], payloads)
        forests = Forests.of_template(template, *_SEED.unpack_from(start))
        parts = _parts(forests.shape)
        while len(forests) < series:
            count, payload = next(entries, (0, b""))
            if not 0 < count <= series - len(forests):
                raise SnapshotError(f"archive cut short: {len(forests)} of {series} series")
            _fill(forests.add_slab(count), payload, parts)
            table = forests.table[-count:]
            (run.rebuild_narrow if forests.shape.narrow else run.rebuild_wide)(table)
            if progress:
                progress(len(forests), series)
        for number, payload in entries:
            forests.replace(number, block_from_payload(memoryview(payload), payloads))
    return forests


def _parts(shape: Shape) -> list[slice]:
    """Where in a block the sections of `SAVED` lie."""
    starts, _ = state.places(shape)
    sections = zip(state.sections(shape), starts, strict=True)
    return [
        slice(start, start + items * kind.itemsize)
        for (name, kind, items), start in sections
        if name in SAVED
    ]


def _fill(slab: U8, payload: bytes, parts: list[slice]) -> None:
    count, at = len(slab), 0
    if len(payload) != count * sum(part.stop - part.start for part in parts):
        raise SnapshotError(f"archive inconsistent: {len(payload)} bytes for {count} series")
    for part in parts:
        width = part.stop - part.start
        slab[:, part] = np.frombuffer(payload, np.uint8, count * width, at).reshape(count, width)
        at += count * width


def _write(file: BinaryIO, number: int, payload: bytes) -> None:
    front = _FRONT.pack(number, len(payload))
    file.write(front + _digest(front, payload))
    file.write(payload)


def _entries(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number, payload) of each entry but the last."""
    while True:
        front = _read(file, _FRONT.size)
        digest = _read(file, _DIGEST)
        number, length = _FRONT.unpack(front)
        payload = _read(file, length)
        if _digest(front, payload) != digest:
            raise SnapshotError("archive damaged: a checksum does not hold")
        if length == 0:
            return
        yield number, payload


def _digest(front: bytes, payload: bytes) -> bytes:
    digest = hashlib.blake2b(front, digest_size=_DIGEST)
    digest.update(payload)
    return digest.digest()


def _read(file: BinaryIO, size: int) -> bytes:
    left = os.fstat(file.fileno()).st_size - file.tell()
    data = file.read(size) if size <= left else b""
    if len(data) < size:
        raise SnapshotError(f"archive cut short: {left} of {size} bytes are left")
    return data
