"""The API's rules are the same on every database: the unit tests of what is done in SQL, on the servers."""

from __future__ import annotations

import inspect

import pytest

from tests.functional.db import conftest
from tests.functional.sql import SERVERS
from tests.unit.api import (
    test_agents,
    test_contract,
    test_cross_tenant,
    test_cross_tenant_writes,
    test_extensions,
    test_filters,
    test_floatingips,
    test_ha,
    test_ipv6,
    test_lists,
    test_more_resources,
    test_networks,
    test_portoptions,
    test_ports,
    test_quantum_v1,
    test_quotas,
    test_refusals,
    test_routers,
    test_securitygroups,
    test_standard,
    test_statements,
    test_subnetpools,
    test_tenancy,
)

_MODULES = (
    *(test_agents, test_contract, test_cross_tenant, test_cross_tenant_writes, test_extensions, test_filters),
    *(test_floatingips, test_ha, test_ipv6, test_lists, test_more_resources, test_networks, test_portoptions),
    *(test_ports, test_quantum_v1, test_quotas, test_refusals, test_routers, test_securitygroups, test_standard),
    *(test_statements, test_subnetpools, test_tenancy),
)


@pytest.fixture
def empty_database_url(served, databases):
    """That of a database without tables."""
    (kind,) = (kind for kind in SERVERS if served.engine.url.drivername == SERVERS[kind].driver)
    return databases(kind)()


for _module in _MODULES:
    _short = _module.__name__.rpartition(".test_")[2]
    for _name, _found in vars(_module).items():
        # what asks for nothing has no database
        if _name.startswith("test_") and inspect.isfunction(_found) and inspect.signature(_found).parameters:
            globals()[f"test_{_short}_{_name.removeprefix('test_')}"] = _found
        elif type(_found).__name__ == "FixtureFunctionDefinition":
            # all fixtures meet here
            _known = vars(conftest).get(_name) or globals().setdefault(_name, _found)
            assert _known is _found, f"{_name} of {_module.__name__} is another one"
