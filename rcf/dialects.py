"""Parameters of Amazon's services in the words of `rcf.Forest`, with their defaults and limits."""

from __future__ import annotations

from typing import NamedTuple

from rcf.arguments import whole
from rcf.errors import InvalidParameter


class Sizes(NamedTuple):
    """Arguments of `rcf.Forest`."""

    features: int
    shingle_size: int
    trees: int
    sample_size: int
    time_decay: float
    score: str
    output_after: int
    initial_accept_fraction: float


def of_kinesis(
    number_of_trees: int, sub_sample_size: int, time_decay: int, shingle_size: int, features: int
) -> Sizes:
    """RANDOM_CUT_FOREST of Kinesis Data Analytics for SQL: see `rcf.Forest.from_kinesis`."""
    trees = whole("numberOfTrees", number_of_trees, 1, 1000)
    sample_size = whole("subSampleSize", sub_sample_size, 10, 1000)
    lifetime = whole("timeDecay", time_decay, 1, 2**31 - 1)
    shingle_size = whole("shingleSize", shingle_size, 1, 30)
    features = whole("features", features, 1, 30)
    if sample_size >= lifetime:
        raise InvalidParameter("subSampleSize", sample_size, f"below timeDecay, {lifetime}")
    return Sizes(
        features, shingle_size, trees, sample_size, 1.0 / lifetime, "depth", sample_size, 1.0
    )


def of_sagemaker(feature_dim: int, num_trees: int, num_samples_per_tree: int) -> Sizes:
    """SageMaker's Random Cut Forest: see `rcf.Forest.from_sagemaker`."""
    features = whole("feature_dim", feature_dim, 1, 10_000)
    trees = whole("num_trees", num_trees, 50, 1000)
    sample_size = whole("num_samples_per_tree", num_samples_per_tree, 1, 2048)
    return Sizes(features, 1, trees, sample_size, 0.0, "depth", 1, 0.125)
