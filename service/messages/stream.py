"""A stream as the control topic holds it; of each name the topic keeps the newest."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from service.engine.config import StreamConfig
from service.engine.records import StreamEntry


class Stored(msgspec.Struct, frozen=True):
    """A stream: what it is, and where it begins in its topics."""

    config: Annotated[StreamConfig, Meta(description="The newest configuration.")]
    birth: Annotated[
        StreamConfig, Meta(description="The configuration before the first change in the input.")
    ]
    incarnation: Annotated[
        int | None,
        Meta(description="Offset of the record that made the stream; that one holds null."),
    ]
    made_input: Annotated[
        bool, Meta(description="Whether the input topic was made for it, and goes with it.")
    ]
    origins: Annotated[
        list[int], Meta(description="For each partition, where the stream begins in the input.")
    ]
    scores_from: Annotated[list[int], Meta(description="Where its results begin in their topic.")]
    dead_from: Annotated[
        list[int], Meta(description="Where its dead letters begin in their topic.")
    ]

    state: Annotated[
        Literal["there", "making", "going"],
        Meta(
            description="Whether its topics are there, or being made or deleted: until that is "
            "done there is no stream, and whoever makes or deletes it goes on with that."
        ),
    ] = "there"

    @property
    def entry(self) -> StreamEntry:
        """The engine's view."""
        return StreamEntry(self.config, self.birth, self.number)

    @property
    def number(self) -> int:
        """The incarnation, known to be there."""
        return -1 if self.incarnation is None else self.incarnation

    def with_state(self, state: Literal["there", "making", "going"]) -> Stored:
        """Return the same stream, further on its way."""
        return msgspec.structs.replace(self, state=state)

    def with_config(self, config: StreamConfig) -> Stored:
        """Return the same stream, configured otherwise."""
        return msgspec.structs.replace(self, config=config)
