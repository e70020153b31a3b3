"""A subnet of automatic addresses comes while ports come: every port gets its address, whoever was first."""

from __future__ import annotations

import concurrent.futures

import pytest
import sqlalchemy as sa

from haqn.db import networks, ports, schema, subnets, tables
from haqn.db.session import Database
from haqn.db.settings import Settings

_PORTS = 24


@pytest.fixture(scope="module")
def database(new_database):
    url = new_database()
    schema.upgrade(url)
    database = Database(url, pool_size=10)
    yield database
    database.close()


def standard(**values):
    return {"project_id": "p", "name": "", "description": "", "admin_state_up": True, **values}


def test_ports_and_their_automatic_subnet_at_once(database):
    settings = Settings()
    values = standard(shared=False, external=False, availability_zone_hints=[])
    network = database.write(lambda connection: networks.create(connection, settings, values))
    subnet = {
        **{"project_id": "p", "name": "", "description": "", "network_id": network["id"], "ip_version": 6},
        **{"cidr": "2001:db8::/64", "enable_dhcp": True, "dns_nameservers": [], "host_routes": []},
        **{"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"},
    }

    def make(number):
        if number == _PORTS // 2:
            return database.write(lambda connection: subnets.create(connection, settings, dict(subnet)))
        wanted = standard(network_id=network["id"], device_id="", device_owner="", binding_profile={})
        return database.write(lambda connection: ports.create(connection, settings, dict(wanted)))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(_PORTS + 1)))
    with database.read() as connection:
        served = connection.scalars(sa.select(tables.ip_allocations.c.port_id)).all()
        everybody = connection.scalars(sa.select(tables.ports.c.id)).all()
    assert len(everybody) == _PORTS
    assert sorted(served) == sorted(everybody)
