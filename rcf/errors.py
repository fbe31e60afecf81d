"""What can go wrong in the core, and what the caller can do about it."""

from __future__ import annotations


class RcfError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidParameter(RcfError, ValueError):
    """A parameter or a value is outside what is allowed; nothing was changed.

    Attributes:
        field: Name of the parameter, for example ``sample_size``.
        value: What was given.
        allowed: What would have been accepted, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{field} is {shown}; allowed: {allowed}")

    def __reduce__(self) -> tuple[type[InvalidParameter], tuple[str, object, str]]:
        """Copies, and what other processes raise, are made of what this was made of."""
        return type(self), (self.field, self.value, self.allowed)


class SnapshotError(RcfError, ValueError):
    """Bytes that cannot be restored: damaged, cut short, or of an unknown version."""
