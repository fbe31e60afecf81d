"""What the checkpoints topic says of one snapshot; of each key it keeps the newest."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from service.engine.records import Pointer


class StoredPointer(msgspec.Struct, frozen=True):
    """A finished snapshot of a partition; committed together with results."""

    incarnation: Annotated[
        int, Meta(description="Of the stream; pointers of an earlier one do not count.")
    ]
    number: Annotated[int, Meta(description="Grows by one with each pointer of a partition.")]
    offset: Annotated[int, Meta(description="The state is that before this input offset.")]
    manifest: Annotated[str, Meta(description="Name of the manifest in the snapshot store.")]
    sha256: Annotated[
        str,
        Meta(
            description="Of the manifest's bytes.",
            extra_json_schema={"pattern": "^[0-9a-f]{64}$"},
        ),
    ]

    @property
    def pointer(self) -> Pointer:
        """The engine's view."""
        return Pointer(self.offset, self.manifest, self.sha256)
