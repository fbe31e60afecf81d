"""Versioned, checksummed bytes <-> forests, detectors, forecasters and series; no pickle.

    magic "RCFS" | version u16 | kind u16 | length u64 | BLAKE2b-128 of the payload | payload

all little-endian. A forest's payload is the shape, then the sections of `SAVED` in the order of
`rcf.state`, the store without the ring's repeated start and without room that was never used (up to
version 4 with the ring's). What follows from them (boxes, masses, …) is recomputed on restore: it
is most of the memory and none of the information.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from rcf import run, state
from rcf.alert import MULTI_MODES
from rcf.detector import Detector, Settings
from rcf.errors import SnapshotError
from rcf.forecast import WORDS
from rcf.forecaster import Forecaster
from rcf.gaps import METHODS
from rcf.memory import Size, fresh
from rcf.series import Series
from rcf.state import U8, Shape
from rcf.threshold import MODES
from rcf.transform import Policy as Change

VERSION = 5
WHOLE_RING = 4  # up to this version the ring is saved as long as it can be
FOREST, DETECTOR, FORECASTER, SERIES = 1, 2, 3, 4

#: The oldest version of each kind that can be read. Before version 4 a forecaster did not keep the
#: bands that it had said, before version 3 a detector not what its forests see of records.
OLDEST = {FOREST: 1, DETECTOR: 3, FORECASTER: 4, SERIES: 4}

#: Sections that hold information; the rest follows from them (`rcf.step.rebuild_forest`).
SAVED = (
    "header",
    "reals",
    "rng",
    "due",
    "sizes",
    "free_slots",
    "free_pairs",
    "keys",
    "origins",
    "leaves",
)

#: A piece of a payload: bytes, or a view of memory that does not change until it is sealed.
Piece: TypeAlias = bytes | memoryview

_HEAD = struct.Struct("<4sHHQ16s")
_SHAPE = struct.Struct("<9q")
#: Smoothing, features, recent records, coordinates, forests; what transforms records (`Policy`);
#: then `Settings`, the number of the multi mode above that of the threshold, in one word.
_DETECTOR = struct.Struct("<5qq2dqd2q3d")
_LENGTH = struct.Struct("<q")
_MODES = {number: name for name, number in MODES.items()}
_MULTI_MODES = {number: name for name, number in MULTI_MODES.items()}
_MULTI_MODE = 2**8  # times its number; releases without it refuse what they could not go on with
#: Treatment of gaps, whether the forest learns, features, bytes of the forecaster (0: none).
_SERIES = struct.Struct("<4q")
_MAGIC = b"RCFS"


def _seal(kind: int, pieces: Sequence[Piece]) -> bytes:
    """Bytes of that kind.

    Made whole before they are hashed: `hashlib` lets go of the interpreter for each piece that is
    not short, and waits for it behind threads that run Python, far longer than a copy takes.
    """
    payload = b"".join(pieces)
    digest = hashlib.blake2b(payload, digest_size=16).digest()
    head = _HEAD.pack(_MAGIC, VERSION, kind, len(payload), digest)
    return head + payload


def _length(pieces: Sequence[Piece]) -> int:
    return sum(len(piece) for piece in pieces)


def _open(kind: int, data: bytes) -> tuple[memoryview, int]:
    """The payload, checked, and the version of its format."""
    if len(data) < _HEAD.size:
        raise SnapshotError(f"{len(data)} bytes are no snapshot: its head alone has {_HEAD.size}")
    magic, version, found, length, digest = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise SnapshotError("these bytes are no snapshot: they do not start with RCFS")
    if not OLDEST[kind] <= version <= VERSION:
        raise SnapshotError(
            f"snapshot version {version}; this release reads versions {OLDEST[kind]} to {VERSION}"
        )
    payload = memoryview(data)[_HEAD.size :]
    if len(payload) != length:
        raise SnapshotError(f"snapshot cut short: {len(payload)} of {length} bytes")
    if hashlib.blake2b(payload, digest_size=16).digest() != digest:
        raise SnapshotError("snapshot damaged: its checksum does not hold")
    if found != kind:
        raise SnapshotError(f"snapshot of kind {found} where kind {kind} was asked for")
    return payload, version


def payload_of_block(block: U8) -> list[Piece]:
    """The information in a forest's block, most of it as views."""
    header = state.header_of(block)
    shape = state.shape_of(header)
    spans, span_of = _spans(shape)
    nodes = block[span_of["nodes"]].view(np.int64)
    uses, store = span_of["kept_uses"].start, span_of["store"].start
    used, kept = int(header[state.KEPT_USED]), store + 4 * shape.ring_floats
    seen = min(int(header[state.RECORDS]), shape.ring)
    memory = block.data
    return [
        _SHAPE.pack(*shape),
        *[memory[span] for span in spans],
        state.words_in(nodes, shape.layout).tobytes(),
        state.parents_in(nodes, shape.layout).tobytes(),
        memory[uses : uses + used * np.dtype(shape.layout.origin).itemsize],
        memory[store : store + 4 * seen * shape.features],
        memory[kept : kept + 4 * used * shape.dimensions],
    ]


@lru_cache(maxsize=256)
def _spans(shape: Shape) -> tuple[tuple[slice, ...], dict[str, slice]]:
    """Where a block has the sections of `SAVED`, in their order; and where every section is."""
    offsets, _ = state.places(shape)
    span_of = {
        name: slice(at, at + items * dtype.itemsize)
        for (name, dtype, items), at in zip(state.sections(shape), offsets, strict=True)
    }
    return tuple(span_of[name] for name in SAVED), span_of


def block_from_payload(payload: memoryview, version: int = VERSION) -> U8:
    """The block that a payload of this version was made of; raises SnapshotError."""
    try:
        shape = Shape(*_SHAPE.unpack_from(payload))
        block = state.allocate(shape)
        forest = state.open_block(block)
        places = forest.header[state.PLACES :].copy()
        at = _SHAPE.size
        for name in SAVED:
            at = _read(payload, at, getattr(forest, name))
        at = _read(payload, at, state.words_in(forest.nodes, shape.layout))
        at = _read(payload, at, state.parents_in(forest.nodes, shape.layout))
        forest.header[state.PLACES :] = places
        if state.shape_of(forest.header) != shape:
            raise SnapshotError("snapshot inconsistent: two shapes in one forest")
        used = int(forest.header[state.KEPT_USED])
        at = _read(payload, at, forest.kept_uses[:used])
        records = int(forest.header[state.RECORDS])
        seen = shape.ring if version <= WHOLE_RING else min(records, shape.ring)
        at = _read(payload, at, forest.store[: seen * shape.features])
        kept = shape.ring_floats
        at = _read(payload, at, forest.store[kept : kept + used * shape.dimensions])
    except (struct.error, ValueError, MemoryError) as error:
        if isinstance(error, SnapshotError):
            raise
        raise SnapshotError(f"snapshot inconsistent: {error}") from error
    if at != len(payload):
        raise SnapshotError(f"snapshot inconsistent: {len(payload) - at} bytes too many")
    (run.rebuild_narrow if shape.narrow else run.rebuild_wide)(np.array([block.ctypes.data]))
    return block


def _read(payload: memoryview, at: int, target: np.ndarray) -> int:
    """Fill `target` from `payload[at:]`; return where it ended."""
    end = at + target.nbytes
    target[:] = np.frombuffer(payload[at:end], target.dtype).reshape(target.shape)
    return end


def forest_to_bytes(block: U8) -> bytes:
    """Bytes of a forest's block."""
    return _seal(FOREST, payload_of_block(block))


def forest_from_bytes(data: bytes) -> U8:
    """Block of a forest; raises SnapshotError."""
    return block_from_payload(*_open(FOREST, data))


def payload_of_detector(detector: Detector) -> list[Piece]:
    """Settings, what was learnt of scores, recent records, forests."""
    width, change, size, settings, words, blocks = detector.parts()
    mode = MODES[settings.mode] + _MULTI_MODE * MULTI_MODES[settings.multi_mode]
    numbers = (*change, mode, *settings[1:-1])
    sizes = (width, size.features, size.before, size.coordinates, len(blocks))
    pieces: list[Piece] = [_DETECTOR.pack(*sizes, *numbers), words.tobytes()]
    for block in blocks:
        payload = payload_of_block(block)
        pieces += [_LENGTH.pack(_length(payload)), *payload]
    return pieces


def detector_from_payload(payload: memoryview, version: int) -> Detector:
    """The detector that a payload of this version was made of; raises SnapshotError."""
    try:
        width, features, before, coordinates, views, *numbers = _DETECTOR.unpack_from(payload)
        change, (mode, *rest) = Change(*numbers[:3]), numbers[3:]
        multi_mode = _MULTI_MODES[mode // _MULTI_MODE]
        settings = Settings._make((_MODES[mode % _MULTI_MODE], *rest, multi_mode))
        measured = int(settings.multi_mode != "none")
        size = Size(features, settings.budget, before, coordinates, measured)
        words = fresh(size, np.ones(features))
        at = _read(payload, _DETECTOR.size, words)
        blocks = []
        for _ in range(views):
            (length,) = _LENGTH.unpack_from(payload, at)
            at += _LENGTH.size + length
            blocks.append(block_from_payload(payload[at - length : at], version))
    except (struct.error, ValueError, KeyError, MemoryError) as error:
        raise SnapshotError(f"snapshot inconsistent: {error}") from error
    if at != len(payload):
        raise SnapshotError(f"snapshot inconsistent: {len(payload) - at} bytes too many")
    detector = Detector.of_parts(width, change, size, settings, words, blocks)
    if any(forest.features != coordinates for forest in detector.views):
        raise SnapshotError("snapshot inconsistent: its forests differ in coordinates")
    return detector


def detector_to_bytes(detector: Detector) -> bytes:
    """Bytes of a detector."""
    return _seal(DETECTOR, payload_of_detector(detector))


def detector_from_bytes(data: bytes) -> Detector:
    """Detector of bytes; raises SnapshotError."""
    return detector_from_payload(*_open(DETECTOR, data))


def payload_of_forecaster(forecaster: Forecaster) -> bytes:
    """Coverage, then what was learnt."""
    coverage, known = forecaster.parts()
    return struct.pack("<d", coverage) + known.tobytes()


def forecaster_from_payload(payload: memoryview) -> Forecaster:
    """The forecaster that a payload was made of; raises SnapshotError."""
    words = (len(payload) - 8) // 8
    if len(payload) % 8 or words < WORDS or words % WORDS:
        raise SnapshotError(f"snapshot inconsistent: {len(payload)} bytes are no forecaster")
    known = np.frombuffer(payload[8:], np.float64).reshape(-1, WORDS).copy()
    return Forecaster.of_parts(struct.unpack_from("<d", payload)[0], known)


def forecaster_to_bytes(forecaster: Forecaster) -> bytes:
    """Bytes of a forecaster."""
    return _seal(FORECASTER, [payload_of_forecaster(forecaster)])


def forecaster_from_bytes(data: bytes) -> Forecaster:
    """Forecaster of bytes; raises SnapshotError."""
    payload, _ = _open(FORECASTER, data)
    return forecaster_from_payload(payload)


def series_to_bytes(series: Series) -> bytes:
    """Bytes of a series: treatment of gaps, last record, forecaster, detector."""
    fill, last = series.parts()
    forecasts = b"" if series.forecaster is None else payload_of_forecaster(series.forecaster)
    missing = METHODS.index(series.missing)
    head = _SERIES.pack(missing, series.learning, len(last), len(forecasts))
    parts = (head, fill.tobytes(), last.tobytes(), forecasts)
    return _seal(SERIES, (*parts, *payload_of_detector(series.detector)))


def verify_series(data: bytes) -> None:
    """SnapshotError unless the bytes of a series are undamaged."""
    _open(SERIES, data)


def series_from_bytes(data: bytes) -> Series:
    """Series of bytes; raises SnapshotError."""
    payload, version = _open(SERIES, data)
    try:
        missing, learning, features, length = _SERIES.unpack_from(payload)
        numbers = np.frombuffer(payload, np.float64, 2 * features, _SERIES.size)
        method = METHODS[missing]
    except (struct.error, ValueError, IndexError) as error:
        raise SnapshotError(f"snapshot inconsistent: {error}") from error
    at = _SERIES.size + numbers.nbytes
    forecaster = forecaster_from_payload(payload[at : at + length]) if length else None
    detector = detector_from_payload(payload[at + length :], version)
    if detector.features != features:
        raise SnapshotError("snapshot inconsistent: series and detector differ in features")
    fill, last = numbers[:features].copy(), numbers[features:].copy()
    return Series.of_parts(detector, forecaster, method, fill, last, learning != 0)
