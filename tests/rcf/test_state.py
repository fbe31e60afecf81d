"""What is read of a block without opening it."""

import numpy as np
import pytest

from rcf import Detector, state


@pytest.mark.parametrize("sizes", [(1, 8, 8, 64), (3, 4, 5, 300), (2, 1, 50, 16)])
def test_header_and_reals_are_the_sections_of_the_block(sizes):
    features, shingle, trees, sample = sizes
    detector = Detector(features, shingle_size=shingle, trees=trees, sample_size=sample)
    detector.process(np.random.default_rng(1).normal(size=(50, features)))
    detector.forest.set_time_decay(0.0123)
    block = detector.forest.block
    opened = state.open_block(block)
    for found, section in (
        (state.header_of(block), opened.header),
        (state.reals_of(block), opened.reals),
    ):
        assert found.dtype == section.dtype and np.array_equal(found, section)
        assert np.shares_memory(found, section) and len(found) == len(section)
    assert detector.forest.time_decay == 0.0123


def test_a_record_alone_opens_no_block(monkeypatch):
    """Opening one takes several times as long as a small forest for a record."""
    detector = Detector(shingle_size=2, trees=3, sample_size=16)
    detector.process(np.arange(200.0))

    def refused(_block):
        raise AssertionError("the block was opened")

    monkeypatch.setattr(state, "open_block", refused)
    assert detector.process([1.0]).score[0] >= 0
