"""Configurations as bytes: in the catalogue, in snapshots, and as control records of the log.

A configuration change is a record in every partition of its stream, so that the state at an
offset is a function of the records before it and of nothing else.
"""

from __future__ import annotations

import msgspec

from service.engine.config import StreamConfig

_decoder = msgspec.json.Decoder(StreamConfig)


def encode_config(config: StreamConfig) -> bytes:
    """Write a configuration as JSON."""
    return msgspec.json.encode(config)


def decode_config(data: bytes) -> StreamConfig:
    """Read a configuration that `encode_config` wrote.

    Raises:
        msgspec.MsgspecError, InvalidParameter: the bytes hold none.
    """
    return _decoder.decode(data)
