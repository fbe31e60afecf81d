"""Random kills: many short lives, then the comparison with one long one."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from service.engine.ports import DetectorFactory
from tests.simulation.lives import Trap, World, begin, finish, fork, live, warm
from tests.simulation.workload import make_workload


@dataclass(frozen=True)
class Outcome:
    """What a run of random kills came to."""

    reference: dict
    found: dict
    kills: int
    seconds: float


def run_chaos(
    directory: Path,
    seed: int,
    *,
    records: int,
    kills: int,
    factory: DetectorFactory | None = None,
    told: Callable[[float], None] = lambda _share: None,
) -> Outcome:
    """Kill a service at `kills` random moments while it takes in `records`.

    `told` is told the share that is done.
    """
    began = time.monotonic()
    world = World(directory / "undisturbed", make_workload(seed, records))
    if factory is not None:
        world = replace(world, factory=factory)
    warm(world.factory, world.workload)
    reference = begin(world, timeout_s=120)  # beside the kills: two cores, half the time
    world = replace(world, directory=directory / "killed")
    rng = random.Random(seed)
    for kill in range(kills):
        budget = int(rng.uniform(0.2, 1.8) * records / kills)
        life_s = rng.choice((rng.uniform(0.0, 0.03), rng.uniform(0.02, 0.12)))
        kill_after(world, budget, life_s)
        told((kill + 1) / (kills + 1))
    found = finish(world, timeout_s=120)
    return Outcome(reference(), found, kills, time.monotonic() - began)


def kill_after(world: World, budget: int, life_s: float) -> None:
    """Give a service some work and kill it after a while, wherever it is."""
    child = fork(lambda: live(world, Trap(), budget, stop=False))
    time.sleep(life_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
