"""Linear prediction of a series from its last values: recursive least squares that forgets.

Weights w and the inverse P of the discounted covariance of the inputs lie side by side in a flat
array: ``size`` weights, then ``size x size`` items. An error beyond `_CLIP` typical steps counts as
`_CLIP`, so that a spike does not turn the weights.

Source: Ljung and Söderström 1983, "Theory and Practice of Recursive Identification", section 2.6;
P is held below `_LARGEST` where inputs that never move would let it grow without end. Where inputs
are so large that P lost its digits, or a restored state lost them earlier, all is learnt anew.
"""

from __future__ import annotations

from rcf.jit import kernel
from rcf.state import F64, Int

_FORGETTING = 0.998
_CLIP = 3.0
_START = 1e3
_LARGEST = 1e4  # mean of P's diagonal
_MOST_SPREAD = 1e12  # beyond it P loses its digits


@kernel
def words(size: Int) -> Int:
    """Words of a regression on `size` inputs."""
    return size + size * size


@kernel
def start_regression(state: F64, at: Int, size: Int) -> None:
    """Begin with weights of 0, about which nothing is known."""
    for i in range(words(size)):
        state[at + i] = 0.0
    for i in range(size):
        state[at + size + i * size + i] = _START


@kernel
def predict(state: F64, at: Int, size: Int, inputs: F64) -> float:
    """The regression's answer to `inputs`, float64 (size,)."""
    total = 0.0
    for i in range(size):
        total += state[at + i] * inputs[i]
    return total


@kernel
def learn_regression(state: F64, at: Int, size: Int, inputs: F64, wanted: float, gain: F64) -> None:
    """Learn that `inputs` gave `wanted`, both in typical steps. `gain`: room for `size` items."""
    error = wanted - predict(state, at, size, inputs)
    error = min(max(error, -_CLIP), _CLIP)
    inverse = at + size
    spread = _FORGETTING
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += state[inverse + i * size + j] * inputs[j]
        gain[i] = total
        spread += inputs[i] * total
    if not 0.5 * _FORGETTING <= spread <= _MOST_SPREAD:  # P is an inverse no more, or soon
        start_regression(state, at, size)
        return
    trace = 0.0
    for i in range(size):
        state[at + i] += gain[i] * error / spread
        for j in range(size):
            reduced = state[inverse + i * size + j] - gain[i] * gain[j] / spread
            state[inverse + i * size + j] = reduced / _FORGETTING
        trace += state[inverse + i * size + i]
    if trace > _LARGEST * size:
        shrink = _LARGEST * size / trace
        for i in range(size * size):
            state[inverse + i] *= shrink
