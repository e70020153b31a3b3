"""haqn-agent: puts the agent together and runs it until SIGTERM. Stopping it leaves everything on the host as it is."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from oslo_config import cfg

from haqn import conf as haqn_conf
from haqn import logs, metrics, servicemanager, templating
from haqn.agent import backend, extensions
from haqn.agent.advertiser import Advertiser
from haqn.agent.memory import Watermark
from haqn.agent.metrics import AgentMetrics
from haqn.agent.pairs import Pairs, PairsSettings, make_gate
from haqn.agent.probe import probe
from haqn.agent.routers import Routers
from haqn.agent.service import AgentService
from haqn.agent.source import Source
from haqn.agent.uplinks import Uplinks
from haqn.clock import Clock, SystemClock, isoformat
from haqn.coordination.client import Etcd
from haqn.documents import Heartbeat
from haqn.exceptions import HostError
from haqn.keepalived import supervisor
from haqn.linux import netns
from haqn.linux.rtnetlink import Rtnetlink
from haqn.model import AgentType, agent_id

LOG = logging.getLogger(__name__)

_TYPES = {"l3": AgentType.L3, "bridge": AgentType.LINUX_BRIDGE}
#: frames between ports of a bridge are haqn's business, not that of the host's own IP firewall (where br_netfilter is)
_NO_BRIDGE_CALLS = ("iptables", "ip6tables", "arptables")


def _interface_with(address: str) -> str:
    """The device that has the address; raises HostError when none has."""
    with Rtnetlink() as handle:
        names = {device.index: name for name, device in handle.links().items()}
        for found in handle.addresses():
            if found.address == address:
                return names[found.index]
    raise HostError(f"cannot find a device with address {address} ([agent] ha_address)")


def _heartbeat(conf: cfg.ConfigOpts, role: str, started_at: str, physical_networks: Mapping[str, str]) -> Heartbeat:
    return Heartbeat(
        agent_id=agent_id(_TYPES[role], conf.host),
        agent_type=_TYPES[role],
        host=conf.host,
        started_at=started_at,
        haqn_version=haqn_conf.version(),
        zone=conf.agent.availability_zone,
        ha_address=conf.agent.ha_address,
        tunnel_address=conf.agent.tunnel_address or conf.agent.ha_address,
        physical_networks=tuple(sorted(physical_networks)),
        max_routers=conf.agent.max_routers,
        allowed_routers=tuple(conf.agent.allowed_routers),
        allowed_networks=tuple(conf.agent.allowed_networks),
    )


def _advertiser(conf: cfg.ConfigOpts) -> Advertiser:
    run_path = Path(conf.run_path)
    owner = supervisor.make(supervisor.Kind(conf.agent.supervisor), run_path)
    return Advertiser(run_path, conf.agent.failover_python, owner)


def _uplinks(conf: cfg.ConfigOpts, clock: Clock) -> Uplinks:
    """Raises HostError for a target that cannot be one."""
    interfaces: Mapping[str, str] = conf.agent.physical_networks
    targets: dict[str, tuple[str, ...]] = {}
    for network, target in conf.agent.uplink_targets.items():
        if network not in interfaces:
            raise HostError(f"cannot probe {target}: {network} is no physical network of this host (uplink_targets)")
        try:
            address = str(ipaddress.ip_address(target))
        except ValueError as error:
            raise HostError(f"cannot probe {target} on {network} ([agent] uplink_targets): {error}") from error
        interface = interfaces[network]
        targets[interface] = (*targets.get(interface, ()), address)
    return Uplinks(interfaces.values(), targets, probe, clock, conf.agent.uplink_probe_interval)


def _keep_ip_firewall_off_bridges() -> None:
    for name in _NO_BRIDGE_CALLS:
        parameter = f"net/bridge/bridge-nf-call-{name}"
        if (Path("/proc/sys") / parameter).exists():
            netns.set_sysctls({parameter: "0"})


def _listen_for_failover(directory: str, service: AgentService) -> None:
    """Be woken when the failover program has changed something; the files say what."""
    path = Path(directory) / "agent.sock"
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(path))

    def listen() -> None:
        while True:
            server.recv(64)
            service.poke()

    threading.Thread(target=listen, name="failover-events", daemon=True).start()


def main(arguments: list[str] | None = None) -> int:
    """Run the agent; returns its exit status."""
    conf = haqn_conf.load(sys.argv[1:] if arguments is None else arguments, prog="haqn-agent")
    logs.setup(conf, haqn_conf.version())
    templates = templating.environment(Path(conf.templates_path) if conf.templates_path else None)
    clock = SystemClock()
    physical_networks = conf.agent.physical_networks
    tunnel_address = conf.agent.tunnel_address or conf.agent.ha_address
    pairs, uplinks = None, None
    try:
        if not conf.agent.ha_address:
            raise HostError("cannot start without [agent] ha_address")
        l2 = backend.load(
            conf.agent.backend,
            backend.BackendSettings(tunnel_address=tunnel_address, physical_networks=physical_networks),
        )
        if l2.in_kernel:
            make_gate(templates)
            _keep_ip_firewall_off_bridges()
        elif "l3" in conf.agent.roles and l2.routers is None:
            raise HostError(f"cannot host routers with [agent] backend {conf.agent.backend}: leave l3 out of roles")
        if "l3" in conf.agent.roles and l2.routers is None:
            uplinks = _uplinks(conf, clock)
            pairs = Pairs(
                PairsSettings(
                    run_path=Path(conf.run_path),
                    state_path=Path(conf.state_path),
                    host=conf.host,
                    ha_address=conf.agent.ha_address,
                    ha_interface=_interface_with(conf.agent.ha_address),
                    uplinks=tuple(sorted(set(physical_networks.values()))),
                    gate_lease_ms=conf.agent.gate_lease_ms,
                    python=conf.agent.failover_python,
                    supervisor=supervisor.Kind(conf.agent.supervisor),
                ),
                templates,
                uplinks,
            )
    except HostError as error:
        LOG.error("%s", error)
        return 1
    started_at = isoformat(clock.utcnow())
    watermark = Watermark(conf.agent.memory_reserve)
    source = Source(Etcd.from_conf(conf), conf.host, conf.etcd.lease_ttl, clock, watermark.why_full)
    service = AgentService(
        listing=source.listing,
        report=source.report,
        networks=l2.networks,
        routers=l2.routers or Routers(templates, physical_networks, _advertiser(conf)),
        ports=l2.ports,
        pairs=l2.pairs if pairs is None else pairs,
        workers=conf.agent.workers,
        clock=clock,
        extensions=extensions.load(),
        on_step=lambda: servicemanager.tell(servicemanager.ALIVE),
        audit_interval=conf.agent.audit_interval,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    if pairs is not None and uplinks is not None:
        _listen_for_failover(pairs.state.path, service)
        uplinks.start()
    source.start([_heartbeat(conf, role, started_at, physical_networks) for role in conf.agent.roles], service.poke)
    LOG.info("agent of %s runs as %s", conf.host, ", ".join(conf.agent.roles))
    metrics.serve(AgentMetrics(service, source.lease_margin), conf.agent.metrics_host, conf.agent.metrics_port)
    servicemanager.tell(servicemanager.READY)
    service.run()
    servicemanager.tell(servicemanager.STOPPING)
    source.stop()
    return 0
