"""The agent's loop, with hands that only note what they are told to do."""

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


def test_extensions_are_told_of_what_the_host_has_carried_out():
    wanted, extension, hands = [listing(ROUTER)], Extension(), Hands()
    service = AgentService(
        listing=lambda: wanted.pop() if wanted else None,
        report=lambda status: None,
        networks=hands,
        routers=hands,
        ports=hands,
        pairs=None,
        workers=1,
        clock=SystemClock(),
        extensions=Extensions({"one": extension}),
    )

    def told(*expected):
        service.step()
        return extension.told == list(expected)

    built = [("add_router", ROUTER), ("ha_state_change", "r1", True)]
    eventually(lambda: told(*built))
    wanted.append(listing())
    eventually(lambda: told(*built, ("delete_router", "r1")))
