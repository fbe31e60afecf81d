"""Bytes to values: what a stream's configuration names, and flat JSON always.

- `flat`      flat JSON with fields, a JSON array, a JSON number
- `text`      one number, or one line of numbers with commas
- `refusals`  what is said of a record that cannot be read
"""

from __future__ import annotations

from service.adapters.codec.flat import JsonDecoder
from service.adapters.codec.text import TextDecoder
from service.engine.config import StreamConfig
from service.engine.ports import Decoder

__all__ = ["JsonDecoder", "TextDecoder", "decoder_for"]


def decoder_for(config: StreamConfig) -> Decoder:
    """Return the decoder that a configuration names; see `StreamConfig.decoder`."""
    if config.decoder in ("number", "csv"):
        return TextDecoder(config)
    return JsonDecoder(config)
