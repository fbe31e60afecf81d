"""What is known of where results stand: at equal distances over all that is kept."""

from __future__ import annotations

from itertools import pairwise

from service.adapters.kafka.results import MOST_PLACES, NEAR, Places

RETENTION = 1_000_000


def test_any_offset_that_is_kept_has_a_known_place_near_it():
    places = Places(0)
    for offset in range(0, 5 * RETENTION, 100):
        places.learn(offset, 3 * offset)
        if offset % (RETENTION // 10) == 0:
            places.forget(offset - RETENTION)
    assert len(places._known) <= MOST_PLACES
    assert all(after - before <= NEAR for (before, _), (after, _) in pairwise(places._known))
    for offset in range(4 * RETENTION, 5 * RETENTION, 997):
        lower, upper = places.around(offset)
        assert lower % 3 == 0 and offset - NEAR <= lower // 3 <= offset
        assert upper is None or offset < upper // 3 <= offset + NEAR


def test_places_are_learnt_in_any_order_and_once():
    places = Places(7)
    for offset in (20, 10, 30, 20, 10):
        places.learn(offset, offset + 100)
    assert places._known == [(10, 110), (20, 120), (30, 130)]
    assert places.around(9) == (7, 110)
    assert places.around(20) == (120, 130)
    assert places.around(31) == (130, None)


def test_what_is_forgotten_leaves_the_last_place_at_or_below_the_offset():
    places = Places(0)
    for offset in range(0, 50, 10):
        places.learn(offset, offset)
    places.forget(25)
    assert places._known == [(20, 20), (30, 30), (40, 40)]
    places.forget(20)
    assert places.around(22) == (20, 30)
    places.forget(99)
    assert places._known == [(40, 40)]
