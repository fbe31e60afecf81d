"""Density and distance: a path folded into how crowded it is around a point, and which way.

A face h of a box (a dimension, from above or below) has the gap d_h by which the query lies beyond
it, the length ``d_h + l_h`` with the box's side l_h, and the chance ``c_h = d_h / (R + sum d)``
that a cut isolates the query there (R is the sum of sides). Folded from the leaf up, a tree gives

    P_h = c_h              + (1 - sum c) P_h      chance to be isolated at h
    F_h = c_h (M + 1)      + (1 - sum c) F_h      mass it is isolated from, with the query's own 1
    L_h = c_h (d_h + l_h)  + (1 - sum c) L_h      length of what it is isolated in

and the forest their means over trees. The distance is the sum of L. With n the mean mass of a tree
the density is ``S / (eps S + G)``, where ``S = sum F / n`` and ``G = sum_i P_i (L_i / P_i)^D`` over
the D dimensions: mass over volume, at most 1 / eps = 1000.

A query equal to a leaf's point (mass m) has ``P_h = 1 / 2D``, ``F_h = (m + 1) / 2D``, ``L_h = 0``
there, the own mass m + 1, and boxes without that leaf above, as in `rcf.attribution`.

Source: AWS random-cut-forest-by-aws, SimpleInterpolationVisitor and DensityOutput.
"""

from __future__ import annotations

import numpy as np

from rcf.attribution import grow_shadow, node_at, separation_at
from rcf.box import find_box
from rcf.faces import beyond, box_gap_wide, face_places
from rcf.jit import kernel
from rcf.pair import mass_of
from rcf.path import Query, Walk
from rcf.state import F32, F64, Forest, Int

#: What is folded of each face: chance, mass, length.
PARTS = 3

_FLOOR = 1e-3


@kernel
def interpolate(
    forest: Forest,
    query: Query,
    walk: Walk,
    tree: Int,
    lane: Int,
    wide: bool,
    shares: F64,
    at: Int,
    own: F64,
) -> None:
    """Add one tree's P, F and L to `shares[at:]`.

    Args:
        forest: The sections.
        query: The point.
        walk: Its paths, folded by `rcf.score.fold_trees`; room for rows is overwritten.
        tree: The tree.
        lane: Its lane.
        wide: See `rcf.score.fold_trees`.
        shares: float64, out: 2 x dimensions of P, then of F, then of L.
        at: Where they start.
        own: float64 (6 dimensions,), room.
    """
    faces = 2 * forest.dimensions
    depth, top = walk.depths[lane], walk.tops[lane]
    if top > depth:
        interpolate_seen(forest, query, walk, tree, lane, own)
        for i in range(PARTS * faces):
            shares[at + i] += own[i]
        return
    reached = 1.0
    for level in range(top, depth + 1):
        node = node_at(walk, lane, level)
        box, place = find_box(forest, walk, tree, node, walk.row)
        chance = separation_at(forest, query, walk, lane, level, box, place, wide)
        mass = np.float64(mass_of(forest, node) + 1)
        spread_lengths(forest, query, box, place, reached * chance, mass, shares, at)
        reached *= 1.0 - chance


@kernel
def interpolate_seen(
    forest: Forest, query: Query, walk: Walk, tree: Int, lane: Int, own: F64
) -> None:
    """Set `own` to one tree's P, F and L where the leaf's point equals the query."""
    faces, depth = 2 * forest.dimensions, walk.depths[lane]
    mass = np.float64(mass_of(forest, node_at(walk, lane, depth)) + 1)
    for face in range(faces):
        own[face] = 1.0 / faces
        own[faces + face] = mass / faces
        own[2 * faces + face] = 0.0
    for level in range(depth - 1, -1, -1):
        chance = grow_shadow(forest, query, walk, tree, lane, level)
        if chance == 0.0:
            return
        for i in range(PARTS * faces):
            own[i] *= 1.0 - chance
        whole = mass + np.float64(mass_of(forest, node_at(walk, lane, level)))
        spread_lengths(forest, query, walk.edge, 0, chance, whole, own, 0)


@kernel
def spread_lengths(
    forest: Forest,
    query: Query,
    boxes: F32,
    at: Int,
    chance: float,
    mass: float,
    shares: F64,
    to: Int,
) -> None:
    """Spread a chance, that times a mass and that times each length over a box's faces."""
    dimensions = forest.dimensions
    faces = 2 * dimensions
    each = chance / box_gap_wide(boxes, at, query.row, forest.row.width)
    for i in range(dimensions):
        low, high = face_places(i, forest.row)
        side = -np.float64(boxes[at + low]) - np.float64(boxes[at + high])
        above = beyond(boxes, at + high, query.row, high)
        below = beyond(boxes, at + low, query.row, low)
        for face, gap in ((i, above), (dimensions + i, below)):
            shares[to + face] += each * gap
            shares[to + faces + face] += each * gap * mass
            shares[to + 2 * faces + face] += each * gap * (gap + side)


def density_of(parts: F64, mass: float) -> tuple[F64, F64]:
    """Densities and their shares.

    Args:
        parts: float64 (n, 3, 2, dimensions): P, F and L, above and below; NaN while warming.
        mass: Mean mass of a tree.

    Returns:
        float64 (n,) from 0 to 1000, in points over volume and relative to the sample; float64
        (n, 2, dimensions) that sum to them.
    """
    chance, weight, length = parts[:, 0].sum(axis=1), parts[:, 1], parts[:, 2].sum(axis=1)
    total = weight.sum(axis=(1, 2))
    mean_side = np.divide(length, chance, out=np.zeros_like(length), where=chance != 0.0)
    with np.errstate(over="ignore", under="ignore"):
        volume = (mean_side ** parts.shape[-1] * chance).sum(axis=1)
        share = total / mass
        found = share / (_FLOOR * share + volume)
    return found, weight * (found / total)[:, None, None]
