"""Messages against the published schemas, by a validator of somebody else."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jsonschema_rs

from service.messages.schemas import document


@lru_cache
def validator(name: str) -> Any:
    return jsonschema_rs.Draft202012Validator(document(name), validate_formats=True)


def validate(name: str, message: object) -> None:
    """Raise jsonschema_rs.ValidationError unless the message is as published."""
    validator(name).validate(message)
