"""What a key decides: its partition and the seed of its detector. Stable over processes."""

from __future__ import annotations

import zlib
from hashlib import blake2b

MAX_KEY = 1024
"""Longest key, in characters."""


def partition_of(key: str | None, partitions: int) -> int:
    """Return the partition of a key, [0, partitions); records without a key share one."""
    return zlib.crc32((key or "").encode()) % partitions if partitions > 1 else 0


def seed_of(stream: str, key: str, seed: int) -> int:
    """Derive a series' seed, [0, 2**63), from its names and the stream's seed."""
    digest = blake2b(digest_size=8, person=b"rcf-series")
    for part in (stream.encode(), key.encode()):
        digest.update(len(part).to_bytes(4, "big") + part)
    digest.update(seed.to_bytes(8, "big"))
    return int.from_bytes(digest.digest(), "big") >> 1
