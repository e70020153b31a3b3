"""A host that loses power and comes back, in every order in which its network and its programs may come up."""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable

from haqn.lab import etcdctl, faults, services
from haqn.lab.capture import Capture, Frame
from haqn.lab.cluster import Lab
from haqn.lab.processes import wait_until
from haqn.lab.services import Service
from haqn.lab.spec import UPLINK
from haqn.lab.wires import Cut

#: the longest that one thing is later than another, in seconds
_LATE = 3.0
#: seconds
_BACK_WITHIN = 60.0


class Order(enum.StrEnum):
    """What comes late."""

    NOTHING = "everything in order"
    AGENT = "the agent comes late"
    LINK = "the HA link comes late"
    ETCD = "the way to etcd comes late"
    AGENT_TWICE = "the agent is started, killed and started again"


def come_back(lab: Lab, host: str, order: Order, rhythm: random.Random, until: Callable[[], bool]) -> list[Frame]:
    """Power the host off and on; what it has sent on its uplink until it is back for good.

    It is once the agent that runs in the end has carried out everything anew, `until` says so, and a frame was seen:
    the uplink is probed, so that none at all would mean that none could be seen. HostError when that takes a minute.
    """
    agent = Service(host, services.AGENT)
    late = rhythm.uniform(0, _LATE)
    lab.rebuild_host(host)
    with Capture(lab, host, UPLINK) as capture:
        if order in (Order.LINK, Order.ETCD):
            faults.cut(lab, host, Cut.HA if order is Order.LINK else Cut.MGMT)
        elif order is Order.AGENT:
            time.sleep(late)
        services.start(lab, agent)
        if order is Order.AGENT_TWICE:
            time.sleep(late)
            faults.kill(lab.host(host), agent.name)
            services.start(lab, agent)
        elif order in (Order.LINK, Order.ETCD):
            time.sleep(late)
            faults.mend(lab, host)
        wait_until(
            lambda: not etcdctl.unsettled(lab, [host]) and until() and capture.has_frames,
            f"see {host} come back ({order})",
            _BACK_WITHIN,
        )
        return capture.stop()
