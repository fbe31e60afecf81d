"""Why a record got its score, per feature: a detector's attribution as results show it."""

from __future__ import annotations

import numpy as np

from service.engine.outcome import FeatureReason
from service.engine.ports import Reasons

MOST_FEATURES = 32
"""Features that one result names at most."""


def reasons_of(features: tuple[str, ...], shares: Reasons, most: int) -> list[FeatureReason]:
    """Say what each feature contributes, those that contribute most first.

    Args:
        features: names, in the order of the shares.
        shares: of one record.
        most: features to name at most; those that contribute nothing are left out too.
    """
    high, low = shares.high[0], shares.low[0]  # (lags, features), oldest first
    lags = len(high) - 1 - np.argmax(high + low, axis=0)
    above, below = high.sum(axis=0), low.sum(axis=0)
    named = np.argsort(-(above + below), kind="stable")[:most]
    return [
        FeatureReason(
            features[i],
            float(above[i]),
            float(below[i]),
            "high" if above[i] > below[i] else "low",
            abs(float(above[i] - below[i])),
            int(lags[i]),
        )
        for i in named.tolist()
        if above[i] + below[i] > 0.0
    ]
