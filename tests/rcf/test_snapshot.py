"""Damaged, cut, forged and old snapshots are refused; those of every released version load."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rcf import Detector, Forest, Forests, SnapshotError, archive
from rcf.snapshot import DETECTOR, FOREST, OLDEST, VERSION
from tests.rcf import golden

HEAD = struct.Struct("<4sHHQ16s")
KINDS: dict[str, tuple[type, Callable[[], Forest | Detector]]] = {
    "forest": (Forest, lambda: Forest(2, shingle_size=2, trees=3, sample_size=8)),
    "detector": (Detector, lambda: Detector(2, shingle_size=2, trees=3, sample_size=8)),
}


def snapshot(kind: str) -> tuple[type, bytes]:
    restorer, make = KINDS[kind]
    model = make()
    model.process(np.random.default_rng(1).normal(size=(100, 2)))
    return restorer, model.to_bytes()


def sealed(data: bytes, payload: bytes, version: int = VERSION) -> bytes:
    """`payload` under a correct head."""
    magic, _, kind, _, _ = HEAD.unpack_from(data)
    digest = hashlib.blake2b(payload, digest_size=16).digest()
    return HEAD.pack(magic, version, kind, len(payload), digest) + payload


@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_is_noticed(kind: str) -> None:
    restorer, data = snapshot(kind)
    random = np.random.default_rng(2)
    places = [*range(HEAD.size + 8), *random.integers(0, len(data), 400), len(data) - 1]
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << int(random.integers(8))
        with pytest.raises(SnapshotError):
            restorer.from_bytes(bytes(broken))


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_is_noticed(kind: str) -> None:
    restorer, data = snapshot(kind)
    lengths = np.random.default_rng(3).integers(HEAD.size, len(data), 200)
    for length in [*range(HEAD.size + 2), *lengths, len(data) - 1]:
        with pytest.raises(SnapshotError):
            restorer.from_bytes(data[:length])
    with pytest.raises(SnapshotError):
        restorer.from_bytes(data + b"\0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [0, VERSION + 1, 65_535])
def test_other_versions_are_refused_by_name(kind: str, version: int) -> None:
    restorer, data = snapshot(kind)
    with pytest.raises(SnapshotError, match=f"version {version}"):
        restorer.from_bytes(sealed(data, data[HEAD.size :], version))


def test_one_kind_is_not_taken_for_the_other() -> None:
    with pytest.raises(SnapshotError):
        Forest.from_bytes(snapshot("detector")[1])
    with pytest.raises(SnapshotError):
        Detector.from_bytes(snapshot("forest")[1])


@pytest.mark.parametrize("kind", KINDS)
def test_payloads_of_a_wrong_length_are_refused_though_their_checksum_holds(kind: str) -> None:
    restorer, data = snapshot(kind)
    payload = data[HEAD.size :]
    assert restorer.from_bytes(sealed(data, payload)).to_bytes() == data
    for wrong in (b"", payload[:7], payload[:47], payload[:500], payload[:-1], payload + b"\0"):
        with pytest.raises(SnapshotError):
            restorer.from_bytes(sealed(data, wrong))


@pytest.mark.parametrize("kind", KINDS)
def test_snapshots_start_as_documented(kind: str) -> None:
    _, data = snapshot(kind)
    magic, version, _, length, digest = HEAD.unpack_from(data)
    assert (magic, version, length) == (b"RCFS", VERSION, len(data) - HEAD.size)
    assert digest == hashlib.blake2b(data[HEAD.size :], digest_size=16).digest()
    assert b"pickle" not in data and not data.startswith(b"\x80")


def following(version: int, kind: str) -> list[Any]:
    """What a stored snapshot says of the records that come after it."""
    return json.loads((golden.DATA / f"following-{version}.json").read_text())[kind]


@pytest.mark.parametrize("version", range(OLDEST[FOREST], VERSION + 1))
def test_forests_of_older_versions_load_and_go_on_exactly(version: int) -> None:
    forest = Forest.from_bytes((golden.DATA / f"forest-{version}.rcfs").read_bytes())
    scores = forest.process(golden.stream(1500, 1800)).tolist()
    assert [score.hex() for score in scores] == following(version, "forest")


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        *(("detector", version) for version in range(OLDEST[DETECTOR], VERSION + 1)),
        *(("recall", version) for version in range(4, VERSION + 1)),
    ],
)
def test_detectors_of_older_versions_load_and_go_on_exactly(kind: str, version: int) -> None:
    data = (golden.DATA / f"{kind}-{version}.rcfs").read_bytes()
    judged = Detector.from_bytes(data).process(golden.stream(1500, 1800))
    told = following(version, kind)  # of what detectors of that version judged
    assert golden.hexed(judged)[: len(told)] == told


@pytest.mark.parametrize("version", archive.PAYLOADS)
def test_archives_of_older_versions_load_and_go_on_exactly(version: int) -> None:
    forests = Forests.load(golden.DATA / f"forests-{version}.rcfa")
    told = json.loads((golden.DATA / f"following-forests-{version}.json").read_text())
    assert [score.hex() for score in forests.process(*golden.turns(300, 400)).tolist()] == told


def test_archives_of_other_versions_are_refused_by_name(tmp_path: Path) -> None:
    whole = bytearray((golden.DATA / f"forests-{archive.VERSION}.rcfa").read_bytes())
    whole[4:6] = struct.pack("<H", archive.VERSION + 1)
    (tmp_path / "later.rcfa").write_bytes(whole)
    with pytest.raises(SnapshotError, match=f"version {archive.VERSION + 1}"):
        Forests.load(tmp_path / "later.rcfa")


def test_a_ring_is_saved_as_far_as_it_is_filled() -> None:
    forest = Forest(5, shingle_size=4, trees=2, sample_size=64)
    ring = forest.shape.ring
    values = np.random.default_rng(1).normal(size=(2 * ring, 5))
    empty = len(forest.to_bytes())
    forest.process(values[: ring // 2])
    assert len(forest.to_bytes()) - empty == 4 * 5 * (ring // 2)
    forest.process(values[ring // 2 :])
    restored = Forest.from_bytes(forest.to_bytes())
    assert np.array_equal(restored.recent(ring), forest.recent(ring))


def test_sealing_lets_go_of_the_interpreter_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Beside a thread that runs Python, whoever lets go waits for that thread's turn to end.
    released = []

    def blake2b(data: Any = b"", **options: Any) -> Any:
        hashed = hashlib.blake2b(**options)

        class Counted:
            digest = hashed.digest

            def update(self, data: Any) -> None:
                if len(data) >= 2048:  # hashlib keeps the interpreter for less
                    released.append(len(data))
                hashed.update(data)

        counted = Counted()
        counted.update(data)
        return counted

    detector = Detector(1, shingle_size=8, trees=30, sample_size=64)
    detector.process(np.random.default_rng(1).normal(size=(300, 1)))
    monkeypatch.setattr("rcf.snapshot.hashlib", SimpleNamespace(blake2b=blake2b))
    data = detector.to_bytes()
    assert released == [len(data) - HEAD.size]
    assert Detector.from_bytes(data).to_bytes() == data
