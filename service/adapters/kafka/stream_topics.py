"""The topics of one stream: whose they are, making them, deleting them."""

from __future__ import annotations

from collections.abc import Iterable

from service.adapters.kafka import names
from service.adapters.kafka.reader import SharedCursor
from service.adapters.kafka.topics import COMPACTED, KEPT, Topics
from service.engine.config import StreamConfig
from service.engine.errors import InvalidParameter
from service.messages.stream import Stored


def check_free(name: str, control: str, others: Iterable[str]) -> None:
    """Refuse a stream that would write into topics of another one, or into the catalogue.

    Args:
        name: what the stream is to be called.
        control: the topic that holds the catalogue.
        others: the names of all other streams.

    Raises:
        InvalidParameter: it would.
    """
    taken = {control: "the catalogue"}
    for other in others:
        topics = names.topics_of(other)
        taken |= dict.fromkeys((topics.input, *topics.outputs), f"stream {other!r}")
    wanted = names.topics_of(name)
    for topic in (wanted.input, *wanted.outputs):
        if topic in taken:
            allowed = f"another name: the topic {topic!r} is one of {taken[topic]}"
            raise InvalidParameter("name", name, allowed)


def intended(config: StreamConfig, *, made_input: bool) -> Stored:
    """Return what the catalogue says of a stream before its topics are made."""
    unknown = [0] * config.partitions
    return Stored(config, config, None, made_input, unknown, unknown, unknown, "making")


async def make(topics: Topics, work: SharedCursor, config: StreamConfig, *, ours: bool) -> Stored:
    """Make what is absent of a stream's topics, and note where each begins.

    Args:
        topics: makes them.
        work: looks where they begin.
        config: the stream.
        ours: whether the input was made for this stream before, if it is there.

    Raises:
        InvalidParameter: a topic is there with another number of partitions.
        TransientError: the brokers do not answer.
    """
    wanted, count = names.topics_of(config.name), config.partitions
    made = await topics.make(wanted.input, count, KEPT)
    for topic, configuration in (
        (wanted.scores, KEPT),
        (wanted.anomalies, KEPT),
        (wanted.dead_letters, KEPT),
        (wanted.checkpoints, COMPACTED),
    ):
        await topics.make(topic, count, configuration)
    async with work.turn() as cursor:
        ends = {
            topic: [await cursor.ends(topic, number) for number in range(count)]
            for topic in (wanted.input, wanted.scores, wanted.dead_letters)
        }
    return Stored(
        config,
        config,
        None,
        made or ours,
        [each.begin for each in ends[wanted.input]],
        [each.end for each in ends[wanted.scores]],
        [each.end for each in ends[wanted.dead_letters]],
    )


async def delete(topics: Topics, stored: Stored) -> None:
    """Delete a stream's topics; the input stays when it was there before the stream.

    Raises:
        TransientError: the brokers do not answer, or refuse.
    """
    there = names.topics_of(stored.config.name)
    await topics.delete([*there.outputs, there.input] if stored.made_input else there.outputs)
