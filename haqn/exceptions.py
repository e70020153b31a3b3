"""The error tree. Class names of API errors are Neutron's own, because clients decide by them.

One place maps these to HTTP (`haqn.api.errors`) and one to retries; nothing here knows either.
"""

from __future__ import annotations


class HaqnError(Exception):
    """Base of everything that haqn raises on purpose."""


# -- coordination -------------------------------------------------------------------------


class CoordinationError(HaqnError):
    """Base of what can go wrong with etcd."""


class Unavailable(CoordinationError):
    """No endpoint answered before the deadline; nothing was changed."""


class OutcomeUnknown(Unavailable):
    """A write was sent and no answer came: it may have been applied, or may be yet."""


class NotLeader(CoordinationError):
    """This process is not, or no longer, the leader; nothing was changed."""


class Refused(CoordinationError):
    """etcd has answered no (permission, size, no space ...); the same call would be refused again."""


class LeaseNotFound(Refused):
    """The lease has expired or was revoked."""


class Compacted(Refused):
    """etcd no longer has the history that was asked for."""


# -- SQL ------------------------------------------------------------------------------------


class DatabaseUnavailable(HaqnError):
    """The database cannot be reached or used."""


class StatementTooLong(DatabaseUnavailable):
    """A statement took longer than it may, and was ended; nothing was changed."""


class WriteConflict(HaqnError):
    """Another writer was in the way, or a constraint did not hold; nothing was changed."""


class SchemaOutdated(HaqnError):
    """The database's schema is not the one that this version of haqn needs."""


class ConfigurationRefused(HaqnError):
    """The options do not go together, or permit what is dangerous; says which."""


# -- documents and control plane ------------------------------------------------------------


class InvalidDocument(HaqnError):
    """A JSON document does not have the shape that it should have."""


class StaleLeader(HaqnError):
    """The SQL epoch has moved on: another monitor leads; nothing was changed."""


class PlanOutdated(HaqnError):
    """SQL is not as the plan's view has it any more; nothing was changed."""


class PlanNotFound(HaqnError):
    """No plan of this number is kept."""


class PairNotFound(HaqnError):
    """There is no such pair."""


# -- host ---------------------------------------------------------------------------------


class HostError(HaqnError):
    """The kernel or a daemon of this host refused something; says what was tried."""


# -- what the API answers -----------------------------------------------------------------


class ApiError(HaqnError):
    """Base of what a client did wrong, or cannot have now. `message` is filled in with the named facts."""

    message = "{reason}"

    def __init__(self, **facts: object) -> None:
        super().__init__(self.message.format(**facts))


class BadRequest(ApiError):
    message = "Bad {resource} request: {msg}."


class NotFound(ApiError):
    pass


class Conflict(ApiError):
    pass


class InUse(Conflict):
    message = "The resource is in use."


class PolicyNotAuthorized(ApiError):
    message = "{action} is disallowed by policy"


class ServiceUnavailable(ApiError):
    message = "The service is unavailable: {reason}."


class HTTPBadRequest(BadRequest):
    """The body or the query string does not have the shape that it should have."""

    message = "{reason}"


class HTTPNotFound(NotFound):
    message = "The resource could not be found."


class InvalidInput(BadRequest):
    message = "Invalid input for operation: {error_message}."


class ExtensionNotFound(NotFound):
    message = "Extension with alias {alias} does not exist"


# networks


class NetworkNotFound(NotFound):
    message = "Network {network_id} could not be found."


class NetworkInUse(InUse):
    message = (
        "Unable to complete operation on network {network_id}. There are one or more ports still in use on the "
        "network, id for these ports is {ports}."
    )


class ExternalNetworkInUse(InUse):
    message = (
        "External network {network_id} cannot be updated to be made non-external, since it has existing gateway ports"
    )


class TunnelIdInUse(InUse):
    message = "Unable to create the network. The tunnel ID {tunnel_id} is in use."


class FlatNetworkInUse(InUse):
    message = "Unable to create the flat network. Physical network {physical_network} is in use."


class NoNetworkAvailable(ServiceUnavailable):
    message = "Unable to create the network. No tenant network is available for allocation."


# subnets


class SubnetNotFound(NotFound):
    message = "Subnet {subnet_id} could not be found."


class SubnetInUse(InUse):
    message = "Unable to complete operation on subnet {subnet_id}: {reason}."


class OutOfBoundsAllocationPool(BadRequest):
    message = "The allocation pool {pool} spans beyond the subnet cidr {subnet_cidr}."


class InvalidAllocationPool(BadRequest):
    message = "The allocation pool {pool} is not valid."


class OverlappingAllocationPools(Conflict):
    message = "Found overlapping allocation pools: {pool_1} {pool_2} for subnet {subnet_cidr}."


class GatewayConflictWithAllocationPools(InUse):
    message = "Gateway ip {ip_address} conflicts with allocation pool {pool}."


class GatewayIpInUse(InUse):
    message = "Current gateway ip {ip_address} already in use by port {port_id}. Unable to update."


# subnet pools


class SubnetPoolNotFound(NotFound):
    message = "Subnet pool {subnetpool_id} could not be found."


class SubnetPoolDeleteError(BadRequest):
    message = "Unable to delete subnet pool: {reason}."


class EmptySubnetPoolPrefixList(BadRequest):
    message = "Empty subnet pool prefix list."


class PrefixVersionMismatch(BadRequest):
    message = "Cannot mix IPv4 and IPv6 prefixes in a subnet pool."


class IllegalSubnetPoolPrefixBounds(BadRequest):
    message = "Illegal prefix bounds: {prefix_type}={prefixlen}, {base_prefix_type}={base_prefixlen}."


class IllegalSubnetPoolPrefixUpdate(BadRequest):
    message = "Illegal update to prefixes: {msg}."


class MinPrefixSubnetAllocationError(BadRequest):
    message = "Unable to allocate subnet with prefix length {prefixlen}, minimum allowed prefix is {min_prefixlen}."


class MaxPrefixSubnetAllocationError(BadRequest):
    message = "Unable to allocate subnet with prefix length {prefixlen}, maximum allowed prefix is {max_prefixlen}."


class NetworkSubnetPoolAffinityError(BadRequest):
    message = "Subnets hosted on the same network must be allocated from the same subnet pool."


class SubnetAllocationError(Conflict):
    """Neutron answers 500; but the client can do something about it."""

    message = "Failed to allocate subnet: {reason}."


# ports and addresses


class PortNotFound(NotFound):
    message = "Port {port_id} could not be found."


class PortInUse(InUse):
    message = (
        "Unable to complete operation on port {port_id} for network {network_id}. "
        "Port already has an attached device {device_id}."
    )


class ServicePortInUse(InUse):
    message = "Port {port_id} cannot be deleted or changed directly via the port API: {reason}."


class MacAddressInUse(InUse):
    message = "Unable to complete operation for network {network_id}. The mac address {mac} is in use."


class IpAddressAlreadyAllocated(Conflict):
    message = "IP address {ip} already allocated in subnet {subnet_id}"


class IpAddressGenerationFailure(Conflict):
    message = "No more IP addresses available on network {network_id}."


class InvalidIpForSubnet(BadRequest):
    message = "IP address {ip_address} is not a valid IP for the specified subnet."


class InvalidIpForNetwork(BadRequest):
    message = "IP address {ip_address} is not a valid IP for any of the subnets on the specified network."


class PortSecurityPortHasSecurityGroup(InUse):
    message = (
        "Port has security group associated. Cannot disable port security or IP address until security group is "
        "removed."
    )


class PortSecurityAndIPRequiredForSecurityGroups(InvalidInput):
    message = "Port security must be enabled and port must have an IP address in order to use security groups."


class AddressPairAndPortSecurityRequired(Conflict):
    message = "Port Security must be enabled in order to have allowed address pairs on a port."


class AllocationOnAutoAddressSubnet(BadRequest):
    message = (
        "IPv6 address {ip} cannot be directly assigned to a port on subnet {subnet_id} "
        "as the subnet is configured for automatic addresses"
    )


# routers


class RouterNotFound(NotFound):
    message = "Router {router_id} could not be found"


class RouterInUse(InUse):
    message = "Router {router_id} {reason}"


class RouterInterfaceNotFound(NotFound):
    message = "Router {router_id} does not have an interface with id {port_id}"


class RouterInterfaceNotFoundForSubnet(NotFound):
    message = "Router {router_id} has no interface on subnet {subnet_id}"


class SubnetMismatchForPort(BadRequest):
    message = "Subnet on port {port_id} does not match the requested subnet {subnet_id}"


class RouterInterfaceInUseByRoute(InUse):
    message = (
        "Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, "
        "as it is required by one or more routes."
    )


class RouterInterfaceInUseByFloatingIP(InUse):
    message = (
        "Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, "
        "as it is required by one or more floating IPs."
    )


class RouterExternalGatewayInUseByFloatingIp(InUse):
    message = (
        "Gateway cannot be updated for router {router_id}, since a gateway to external network {net_id} "
        "is required by one or more floating IPs."
    )


class InvalidRoutes(BadRequest):
    message = "Invalid format for routes: {routes}, {reason}"


# floating IPs


class FloatingIPNotFound(NotFound):
    message = "Floating IP {floatingip_id} could not be found"


class ExternalGatewayForFloatingIPNotFound(NotFound):
    message = (
        "External network {external_network_id} is not reachable from subnet {subnet_id}.  Therefore, cannot "
        "associate Port {port_id} with a Floating IP."
    )


class FloatingIPPortAlreadyAssociated(InUse):
    message = (
        "Cannot associate floating IP {floating_ip_address} ({fip_id}) with port {port_id} using fixed IP {fixed_ip}, "
        "as that fixed IP already has a floating IP on external network {net_id}."
    )


# security groups


class SecurityGroupNotFound(NotFound):
    message = "Security group {security_group_id} does not exist"


class SecurityGroupInUse(InUse):
    message = "Security Group {id} {reason}."


class SecurityGroupCannotRemoveDefault(InUse):
    message = "Insufficient rights for removing default security group."


class SecurityGroupCannotUpdateDefault(InUse):
    message = "Updating default security group not allowed."


class SecurityGroupDefaultAlreadyExists(InUse):
    message = "Default security group already exists."


class SecurityGroupRuleNotFound(NotFound):
    message = "Security group rule {security_group_rule_id} does not exist"


class SecurityGroupRuleExists(InUse):
    message = "Security group rule already exists. Rule id is {rule_id}."


class SecurityGroupInvalidPortRange(BadRequest):
    message = "For TCP/UDP protocols, port_range_min must be <= port_range_max"


class SecurityGroupProtocolRequiredWithPorts(BadRequest):
    message = "Must also specify protocol if port range is given."


class SecurityGroupRemoteGroupAndRemoteIpPrefix(BadRequest):
    message = "Only remote_ip_prefix or remote_group_id may be provided."


class SecurityGroupRuleParameterConflict(BadRequest):
    message = "Conflicting value ethertype {ethertype} for CIDR {cidr}"


# standard attributes


class TagNotFound(NotFound):
    message = "Tag {tag} could not be found."


class RevisionNumberConstraintFailed(ApiError):
    message = "Constrained to {expected}, but current revision is {current}"


# agents


class AgentNotFound(NotFound):
    message = "Agent {agent_id} could not be found"


class InvalidL3Agent(AgentNotFound):
    message = "Agent {agent_id} is not a L3 Agent or has been disabled"


class AgentInUse(InUse):
    message = "Agent {agent_id} cannot be deleted: {reason}."


class RouterHostedByL3Agent(Conflict):
    message = "The router {router_id} has been already hosted by the L3 Agent {agent_id}."


class RouterNotHostedByL3Agent(Conflict):
    message = "The router {router_id} is not hosted by L3 agent {agent_id}."


class RouterSchedulingFailed(Conflict):
    message = "Failed scheduling router {router_id} to the L3 Agent {agent_id}: {reason}."


class RouterReschedulingFailed(Conflict):
    message = "Failed rescheduling router {router_id}: {reason}."


class AvailabilityZoneNotFound(NotFound):
    message = "AvailabilityZone {availability_zone_id} could not be found."


class InvalidDHCPAgent(AgentNotFound):
    message = "Agent {agent_id} is not a valid DHCP Agent or has been disabled"


class NetworkNotHostedByDhcpAgent(Conflict):
    message = "The network {network_id} is not hosted by the DHCP agent {agent_id}."


# quotas


class OverQuota(Conflict):
    message = "Quota exceeded for resources: {overs}."


class SubnetPoolQuotaExceeded(OverQuota):
    message = "Per-tenant subnet pool prefix quota exceeded."


class InvalidQuotaValue(Conflict):
    message = "Change would make usage less than 0 for the following resources: {unders}."


# operations


class OperationNotFound(NotFound):
    message = "Operation {operation_id} could not be found."


class OperationNotPossible(Conflict):
    message = "The operation is not possible: {reason}."


class HaPairNotFound(NotFound):
    message = "Pair {pair_id} could not be found, or the agent is not one of its members."


class EventNotFound(NotFound):
    message = "Event {event_id} could not be found."
