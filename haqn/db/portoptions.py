"""What a port says of its security and of its DHCP options. Records: nothing here lets or keeps traffic out."""

from __future__ import annotations

from collections.abc import Sequence

from haqn.db import securitygroups
from haqn.db.session import Connection
from haqn.db.store import Row
from haqn.exceptions import (
    AddressPairAndPortSecurityRequired,
    PortSecurityAndIPRequiredForSecurityGroups,
    PortSecurityPortHasSecurityGroup,
)


def secure_new(connection: Connection, values: Row, network: Row) -> None:
    """Settle `port_security_enabled` and `security_groups` of a new port: what the network says, and the default group
    of the project.

    Raises PortSecurityAndIPRequiredForSecurityGroups, AddressPairAndPortSecurityRequired.
    """
    if values.get("port_security_enabled") is None:
        values["port_security_enabled"] = network["port_security_enabled"]
    if values["port_security_enabled"]:
        if "security_groups" not in values:
            values["security_groups"] = [securitygroups.ensure_default(connection, values["project_id"])]
        return
    if values.get("security_groups"):
        raise PortSecurityAndIPRequiredForSecurityGroups()
    if values.get("allowed_address_pairs"):
        raise AddressPairAndPortSecurityRequired()


def check_security(connection: Connection, row: Row, changes: Row) -> None:
    """Whether a port may change like this.

    Raises PortSecurityPortHasSecurityGroup, PortSecurityAndIPRequiredForSecurityGroups,
    AddressPairAndPortSecurityRequired.
    """
    if changes.get("port_security_enabled", row["port_security_enabled"]):
        return
    if changes.get("security_groups"):
        raise PortSecurityAndIPRequiredForSecurityGroups()
    if "security_groups" not in changes:
        securitygroups.load_of_ports(connection, [row])
        if row["security_groups"]:
            raise PortSecurityPortHasSecurityGroup()
    if changes.get("allowed_address_pairs", row["allowed_address_pairs"]):
        raise AddressPairAndPortSecurityRequired()


def merged_dhcp_opts(present: Sequence[Row], given: Sequence[Row]) -> list[Row]:
    """The options of a port after a write, as Neutron does it: what is given adds to what is there or replaces it, and
    null takes an option away."""
    merged = {(opt["opt_name"], opt["ip_version"]): opt for opt in present}
    for opt in given:
        whole = {"ip_version": 4, **opt}
        merged[whole["opt_name"], whole["ip_version"]] = whole
    return [opt for opt in merged.values() if opt["opt_value"] is not None]
