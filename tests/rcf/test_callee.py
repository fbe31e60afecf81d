"""How kernels are compiled: references counted, the collector as it was, kernels shared."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import types
from numba.core.runtime import _nrt_python, rtsys
from numba.extending import intrinsic

from rcf.jit import INTERPRETED, entry, kernel

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")

seen: list[bool] = []


class Pair(NamedTuple):
    numbers: Any
    factor: float


@intrinsic
def _look_at_the_collector(typingctx: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        seen.append(gc.isenabled())
        return context.get_dummy_value()

    return types.void(), emit


@kernel
def pair_of(count: int) -> Pair:
    return Pair(np.ones(count), 2.0)


@kernel
def swapped(first: Pair, second: Pair, is_swapped: bool) -> Pair:
    kept = first
    if is_swapped:
        kept = second
    return kept


@kernel
def total(pair: Pair) -> float:
    numbers = pair.numbers
    numbers[:] = numbers * pair.factor + 1.0  # an array expression
    return float(numbers.sum())


@entry
def totals(count: int, rounds: int) -> float:
    result = 0.0
    for number in range(rounds):
        pair = swapped(pair_of(count), pair_of(count + 1), number % 2 == 0)
        result += total(pair)
    return result


@entry
def total_of_one(count: int) -> float:
    return total(pair_of(count))


NEVER = False


@kernel
def doubled(number: int) -> int:
    return 2 * number


@kernel
def doubled_never(number: int) -> int:
    if NEVER:
        return doubled(number)
    return number


@kernel
def doubled_always(number: int) -> int:
    return doubled(number)


@kernel
def both(number: int) -> int:
    return doubled_never(number) + doubled_always(number)


@entry
def tripled(number: int) -> int:
    return both(number)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("rcf.jit.CACHE_DIRECTORY", None)  # what is there is not compiled
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


@pytest.fixture
def counted() -> Iterator[None]:
    was = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    yield
    if not was:
        _nrt_python.memsys_disable_stats()


@pytest.mark.usefixtures("counted")
def test_arrays_in_tuples_are_let_go_of_as_often_as_they_are_made():
    totals(5, 2)
    before = rtsys.get_allocation_stats()
    assert totals(5, 1000) == 500 * 3 * (5 + 6)
    after = rtsys.get_allocation_stats()
    assert after.mi_alloc - before.mi_alloc >= 2000
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free
    assert after.alloc - before.alloc == after.free - before.free


def test_two_entries_share_kernels():
    assert total_of_one(4) == 12.0
    assert totals(4, 1) == 15.0
    assert total_of_one(3) == 9.0


def test_a_kernel_that_its_first_caller_turns_out_not_to_call_is_there_for_the_second():
    assert tripled(5) == 15


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.usefixtures("collector")
def test_the_collector_rests_while_an_entry_is_compiled_and_is_as_it_was_afterwards(is_on: bool):
    @entry
    def looks(number: int) -> int:
        _look_at_the_collector()
        return number + 1

    seen.clear()
    (gc.enable if is_on else gc.disable)()
    assert looks(1) == 2
    assert gc.isenabled() is is_on
    assert seen
    assert not any(seen)


@pytest.mark.usefixtures("collector")
def test_the_collector_works_again_after_a_compilation_that_failed():
    @entry
    def fails(number: int) -> Any:
        return number.nothing_of_that_name  # type: ignore[attr-defined]  # it must not compile

    gc.enable()
    with pytest.raises(Exception, match="nothing_of_that_name"):
        fails(1)
    assert gc.isenabled()


def test_python_cannot_call_a_kernel():
    with pytest.raises(TypeError):
        total(Pair(np.ones(2), 1.0))
