"""A whole run of chaos: its lab, its log, and what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from haqn.lab.chaos import script, world
from haqn.lab.chaos.engine import Engine
from haqn.lab.chaos.log import Log
from haqn.lab.cluster import Lab
from haqn.lab.spec import Kind, LabSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be played. The same seed, size of the lab and number of faults give the same faults in one order."""

    seed: int
    faults: int
    #: after so long nothing more is inflicted
    seconds: float
    log: Path
    spec: LabSpec = world.SPEC
    routers: int = world.ROUTERS
    #: bounds are longer by this factor
    slack: float = 1.0
    #: leave the lab up at the end, to look at it
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    #: faults that were inflicted without a violation in their steps
    survived: int
    violations: list[str]
    #: what was too slow while the machine stood still, which says nothing about haqn
    doubts: list[str]


def run(lab: Lab, plan: Plan) -> Outcome:
    """Build the lab, play, and take it down. HaqnError if the lab cannot be built or played in."""
    log = Log(plan.log)
    try:
        log.say(f"seed {plan.seed}, {plan.faults} faults, at most {plan.seconds:g} s; {plan.spec}")
        built = world.build(lab, plan.spec, plan.routers)
        hosts = [host.name for host in plan.spec.of_kind(Kind.NETWORK)]
        log.say("the lab is up")
        engine = Engine(built, log, plan.seed, plan.slack)
        try:
            engine.play(script.write(plan.seed, hosts, plan.faults), time.monotonic() + plan.seconds)
        finally:
            engine.close()
        log.say(
            f"{engine.survived} faults survived, {len(log.violations)} violations, {len(log.doubts)} not judged because"
            f" the machine stood still (seed {plan.seed})"
        )
        return Outcome(engine.survived, list(log.violations), list(log.doubts))
    finally:
        if not plan.keep:
            lab.destroy()
        log.close()
