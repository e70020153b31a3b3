"""How soon a new agent is in the API: from its first heartbeat's put in etcd to an answer that has it, alive."""

from __future__ import annotations

import pathlib
import tempfile
import time

from bench.measure import Measured
from haqn.coordination import keys
from haqn.documents import Heartbeat, encode
from haqn.model import AgentType, agent_id
from tests.functional.system.noop import noop_cloud

_AGENTS = 20
#: seconds after which an agent counts as lost
_LONGEST = 60.0


def measure() -> list[Measured]:
    """Run it; takes about ten seconds."""
    with tempfile.TemporaryDirectory(prefix="haqn-bench-") as name, noop_cloud(pathlib.Path(name)) as cloud:
        lease, found = cloud.etcd.grant(600).lease, []
        for number in range(_AGENTS):
            host = f"new{number}"
            key, beat = keys.agent(AgentType.L3, host), _heartbeat(host)
            began = time.monotonic()
            cloud.etcd.put(key, encode(beat), lease)
            while not any(agent["alive"] for agent in cloud.client.find("agent", host=host)):
                assert time.monotonic() < began + _LONGEST, host
                time.sleep(0.005)
            found.append((time.monotonic() - began) * 1000)
            # what a new agent sets in motion is not to be measured with the next one
            time.sleep(0.2)
    detail = f"longest of {_AGENTS}"
    return [Measured("a new agent is in the API after its first heartbeat", max(found), "ms", 1000, detail)]


def _heartbeat(host: str) -> Heartbeat:
    return Heartbeat(
        agent_id=agent_id(AgentType.L3, host),
        agent_type=AgentType.L3,
        host=host,
        started_at="2026-01-02T03:04:05",
        ha_address="192.0.2.100",
    )
