"""Streaming random cut forests."""
from rcf.errors import InvalidParameter, SnapshotError
