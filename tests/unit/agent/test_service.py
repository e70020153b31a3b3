"""The agent's loop, with hands that only note what they are told to do."""

from haqn.agent.diff import OpenPairs
from haqn.agent.extensions import Extensions
from haqn.agent.routers import Built
from haqn.agent.service import AgentService
from haqn.clock import SystemClock
from haqn.coordination import keys
from haqn.documents import Manifest, RouterDocument, encode
from tests.eventually import eventually

ROUTER = RouterDocument(router_id="r1", pair_id=None)


class Hands:
    """Of routers, networks and ports; each of them succeeds at once."""

    def found(self):
        return []

    def check_health(self):
        pass

    def apply(self, *arguments, **options):
        return Built({}, {}, ())

    def remove(self, router_id):
        return None


class NotingPairs:
    """Pairs of a host on which nothing happens; what the loop asks of them is noted."""

    def __init__(self):
        self.asked = []

    def open_pairs(self):
        return OpenPairs()

    def report(self):
        self.asked.append("report")
        return []

    def __getattr__(self, name):
        return lambda *arguments: self.asked.append(name)


class Extension:
    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *arguments: self.told.append((name, *arguments))


def listing(*routers):
    documents = {keys.desired_router("net1", router.router_id): encode(router) for router in routers}
    return {
        f"{keys.desired('net1')}manifest": encode(Manifest(generation=1, count=len(routers), complete=True))
    } | documents


def agent(listings, pairs=None, **extensions):
    """An agent that takes one of the listings with each step while there are any."""
    hands = Hands()
    return AgentService(
        listing=lambda: listings.pop() if listings else None,
        report=lambda status: None,
        networks=hands,
        routers=hands,
        ports=hands,
        pairs=pairs,
        workers=1,
        clock=SystemClock(),
        extensions=Extensions(extensions),
    )


def test_each_step_announces_the_contested_pairs_that_its_report_has_found():
    pairs = NotingPairs()
    service = agent([], pairs)
    for _ in range(3):
        pairs.asked.clear()
        service.step()
        assert pairs.asked.count("announce_again") == 1
        assert pairs.asked.index("announce_again") > pairs.asked.index("report")


def test_extensions_are_told_of_what_the_host_has_carried_out():
    wanted, extension = [listing(ROUTER)], Extension()
    service = agent(wanted, one=extension)

    def told(*expected):
        service.step()
        return extension.told == list(expected)

    built = [("add_router", ROUTER), ("ha_state_change", "r1", True)]
    eventually(lambda: told(*built))
    wanted.append(listing())
    eventually(lambda: told(*built, ("delete_router", "r1")))
