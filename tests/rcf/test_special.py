"""Kernels for one row shape: the bits of the kernel of any shape, and when they take over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rcf import Forest, fixed, run, special
from rcf.row import row_for


def process(kernel: run.Kernel, forest: Forest, rows: np.ndarray, learn: bool) -> np.ndarray:
    scores, starts = np.empty(len(rows)), np.array([0, len(rows)])
    blocks = np.array([forest.block.ctypes.data])
    assert kernel(blocks, starts, rows, scores, np.inf, learn) == len(rows)
    return scores


@pytest.mark.slow
@pytest.mark.parametrize("key", [(0, 1, 0), (1, 2, 0)])
def test_kernels_of_one_shape_give_the_same_bits(key: special.Key) -> None:
    """Filling, evicting, duplicates, points beyond the ring, the largest floats."""
    dimensions = 8 * key[0] + key[1]
    random = np.random.default_rng(dimensions)
    rows = np.round(random.normal(size=(900, dimensions)) * 2) / 2
    rows[700] = 3e38
    forests = [
        Forest(dimensions, trees=13, sample_size=30, time_decay=0.05, seed=1) for _ in range(2)
    ]
    for start in range(0, len(rows), 150):
        part = rows[start : start + 150]
        found = []
        for forest, kernel in zip(forests, (run.run_wide, fixed.KERNELS[key]), strict=True):
            scored = process(kernel, forest, part[:9], learn=False)
            learnt = process(kernel, forest, part, learn=True)
            found.append((scored.tobytes(), learnt.tobytes(), forest.block.tobytes()))
        assert found[0] == found[1], f"records from {start}"


def test_every_kernel_stands_under_the_shape_of_its_row() -> None:
    shapes = {row_for(d)[:2] for d in range(1, 97)}
    assert {key[:2] for key in fixed.KERNELS} <= shapes
    for (groups, tail, narrow), kernel in fixed.KERNELS.items():
        assert kernel.__name__ == f"{'narrow' if narrow else 'wide'}_{groups}_{tail}"


@pytest.mark.parametrize("key", [(0, 1, 0), (1, 2, 0), (1, 0, 1)])
def test_kernels_are_warmed_by_forests_that_have_learnt_nothing(
    key: special.Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    general = run.run_narrow if key[2] else run.run_wide
    monkeypatch.setattr(special, "CACHE_DIRECTORY", tmp_path)
    monkeypatch.setattr(special, "KERNELS", {key: general})
    special.warm([key])
    assert special._marker(key).exists()


class Compilation:
    """A process that ends when told."""

    def __init__(self) -> None:
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code


@pytest.fixture
def compilations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Compilation]:
    started: list[Compilation] = []

    def start(code: str) -> Compilation:
        started.append(Compilation())
        return started[-1]

    monkeypatch.setattr(special, "CACHE_DIRECTORY", tmp_path)
    monkeypatch.setattr(special, "compile_beside", start)
    monkeypatch.setenv("RCF_SPECIALISE", "1")
    return started


KEY = (1, 2, 0)


def specialist(key: special.Key = KEY) -> special.Specialist:
    return special.Specialist(key)


def test_a_kernel_takes_over_when_its_compilation_repays(compilations: list[Compilation]) -> None:
    chosen = specialist()
    chosen.note(special.REPAYS - 1, 50)
    assert not compilations and chosen.kernel is run.run_wide
    chosen.note(1, 50)
    chosen.note(10**9, 50)
    assert len(compilations) == 1 and chosen.kernel is run.run_wide, "scoring does not wait"
    special._marker(KEY).touch()
    compilations[0].code = 0
    chosen.note(1, 50)
    assert chosen.kernel is fixed.KERNELS[KEY]
    assert specialist().kernel is fixed.KERNELS[KEY], "at once where it is cached"


def test_work_counts_trees(compilations: list[Compilation]) -> None:
    specialist().note(special.REPAYS // 4, 100)
    assert not compilations
    specialist().note(special.REPAYS // 4, 200)
    assert len(compilations) == 1


def test_a_failed_compilation_is_not_tried_again(compilations: list[Compilation]) -> None:
    chosen = specialist()
    chosen.note(10**9, 50)
    compilations[0].code = 1
    for _ in range(3):
        chosen.note(10**9, 50)
    assert len(compilations) == 1 and chosen.kernel is run.run_wide


def test_told_not_to_or_without_a_cache_nothing_is_compiled(
    compilations: list[Compilation], monkeypatch: pytest.MonkeyPatch
) -> None:
    specialist((7, 0, 0)).note(10**9, 50)  # a shape without a kernel of its own
    monkeypatch.setenv("RCF_SPECIALISE", "0")
    specialist().note(10**9, 50)
    monkeypatch.setenv("RCF_SPECIALISE", "1")
    monkeypatch.setattr(special, "CACHE_DIRECTORY", None)
    specialist().note(10**9, 50)
    assert not compilations


def test_where_no_process_can_be_started_the_kernel_of_any_shape_stays(
    compilations: list[Compilation], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(code: str) -> Compilation:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(special, "compile_beside", refuse)
    chosen = specialist()
    chosen.note(special.REPAYS, 50)
    assert chosen.settled and chosen.kernel is run.run_wide
