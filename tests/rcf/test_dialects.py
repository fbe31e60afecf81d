"""Forests made with the parameters of Amazon's services."""

from __future__ import annotations

import numpy as np
import pytest

from rcf import Forest, InvalidParameter


def test_kinesis_defaults_in_our_words() -> None:
    forest = Forest.from_kinesis()
    shape = forest.shape
    assert (shape.trees, shape.sample_size, shape.shingle_size, shape.features) == (100, 256, 1, 1)
    assert forest.time_decay == 1 / 100_000


def test_kinesis_learns_its_first_sample_before_it_scores() -> None:
    values = np.random.default_rng(1).normal(size=60)
    ours = Forest(
        1,
        trees=20,
        sample_size=40,
        shingle_size=2,
        time_decay=1 / 500,
        score="depth",
        output_after=40,
        initial_accept_fraction=1.0,
        seed=4,
    )
    theirs = Forest.from_kinesis(20, 40, timeDecay=500, shingleSize=2, seed=4)
    scores = theirs.process(values)
    assert np.array_equal(scores, ours.process(values), equal_nan=True)
    assert np.isnan(scores[:41]).all() and not np.isnan(scores[41:]).any()


def test_sagemaker_samples_uniformly_and_scores_by_depth() -> None:
    forest = Forest.from_sagemaker(feature_dim=2, num_trees=60, num_samples_per_tree=50, seed=3)
    assert (forest.shape.trees, forest.shape.sample_size, forest.shape.features) == (60, 50, 2)
    assert forest.time_decay == 0.0
    random = np.random.default_rng(1)
    forest.update(random.normal(size=(2000, 2)))
    usual, odd = forest.score([[0.0, 0.0], [9.0, 9.0]])
    assert 0 < usual < odd <= np.log2(51)
    ago = [forest.near_neighbours(row)[0][0].ago for row in random.normal(size=(200, 2))]
    assert np.mean([each[0] > 1000 for each in ago if each[0] is not None]) == pytest.approx(
        0.5, abs=0.15
    )


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("numberOfTrees", {"numberOfTrees": 1001}),
        ("subSampleSize", {"subSampleSize": 9}),
        ("subSampleSize", {"subSampleSize": 256, "timeDecay": 256}),
        ("timeDecay", {"timeDecay": 2**31}),
        ("shingleSize", {"shingleSize": 31}),
        ("features", {"features": 31}),
    ],
)
def test_limits_of_kinesis(field: str, given: dict[str, int]) -> None:
    with pytest.raises(InvalidParameter, match=field):
        Forest.from_kinesis(**given)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("feature_dim", {"feature_dim": 10_001}),
        ("num_trees", {"feature_dim": 1, "num_trees": 49}),
        ("num_samples_per_tree", {"feature_dim": 1, "num_samples_per_tree": 2049}),
    ],
)
def test_limits_of_sagemaker(field: str, given: dict[str, int]) -> None:
    with pytest.raises(InvalidParameter, match=field):
        Forest.from_sagemaker(**given)
