"""What a transaction must hold, offsets without a record included."""

from __future__ import annotations

import pytest

from service.engine.errors import InvariantError
from service.engine.records import Result, StreamPartition, Transaction
from service.engine.transactions import check_transaction

HERE = StreamPartition("s", 0)


def transaction(start: int, end: int, offsets: list[int]) -> Transaction:
    return Transaction(HERE, 1, start, end, [Result(n, 0, "", False, b"") for n in offsets])


@pytest.mark.parametrize(
    ("start", "end", "offsets", "gaps"),
    [
        (0, 3, [0, 1, 2], {}),
        (0, 4, [0, 1, 3], {2: 3}),
        (0, 5, [4], {0: 4}),
        (2, 9, [3, 5, 8], {2: 3, 4: 5, 6: 8}),
        (2, 4, [2], {3: 4}),
        (2, 4, [], {2: 6}),
        (2, 2, [], {2: 6}),
    ],
)
def test_known_gaps_need_no_result(start, end, offsets, gaps):
    check_transaction(transaction(start, end, offsets), 1, start, gaps)


@pytest.mark.parametrize(
    ("start", "end", "offsets", "gaps"),
    [
        (0, 4, [0, 1, 3], {}),
        (0, 4, [0, 1, 3], {2: 4}),
        (0, 4, [0, 1, 2], {2: 3}),
        (0, 5, [0, 1, 3], {2: 3}),
        (0, 3, [0, 1, 3], {2: 3}),
        (0, 4, [0, 3, 1], {2: 3}),
        (0, 4, [0, 0, 3], {1: 3}),
        (2, 6, [], {2: 4}),
    ],
)
def test_unknown_gaps_are_refused(start, end, offsets, gaps):
    with pytest.raises(InvariantError, match="one for each offset"):
        check_transaction(transaction(start, end, offsets), 1, start, gaps)
