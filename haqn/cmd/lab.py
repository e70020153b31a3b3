"""haqn-lab: a whole cluster on this machine, and everything that can go wrong with it. Needs root."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from haqn.exceptions import HaqnError
from haqn.lab import demo, etcdusers, faults, lookup, services, status, vms
from haqn.lab.chaos import run as chaos
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.host import Host
from haqn.lab.probe import BothWays, ProbeResult
from haqn.lab.spec import Kind, LabSpec
from haqn.lab.wires import Cut, Way

Options = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    options = _parser().parse_args(arguments)
    options.lab = options.lab or options.usual_lab
    if os.geteuid() != 0:
        print("haqn-lab: cannot make hosts without being root", file=sys.stderr)
        return 1
    command: Callable[[Options], int | None] = options.command
    try:
        return command(options) or 0
    except (HaqnError, OSError, ValueError, KeyError) as error:
        # str() of a KeyError is its repr
        print(f"haqn-lab: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(options: Options) -> None:
    lab = Lab(options.lab)
    began = time.monotonic()
    print(f"lab {lab.name}: hosts and wires", flush=True)
    lab.build(
        LabSpec(
            name=options.lab,
            hosts=options.hosts,
            computes=options.computes,
            etcd=options.etcd,
            etcd_auth=options.etcd_auth,
            lease_ttl=options.ttl,
            advert_ms=options.advert_ms,
        )
    )
    services.start_all(lab, lambda what: print(f"lab {lab.name}: {what}", flush=True))
    print(f"lab {lab.name} is up after {time.monotonic() - began:.1f} s: {lab.spec.api_url}")


def _down(options: Options) -> None:
    Lab(options.lab).destroy()


def _status(options: Options) -> None:
    observed = status.observe(Lab(options.lab))
    print(json.dumps(observed, indent=2) if options.json else "\n".join(status.lines(observed)))


def _env(options: Options) -> None:
    spec = Lab(options.lab).spec
    addresses = ",".join(host.address for host in spec.of_kind(Kind.CONTROL))
    for name, value in {
        "HAQN_API": spec.api_url,
        "OS_AUTH_TYPE": "none",
        "OS_ENDPOINT": spec.api_url,
        **etcdusers.for_etcdctl(spec),
        "no_proxy": f"{addresses},${{no_proxy:-}}",
    }.items():
        print(f'export {name}="{value}"')
    print("# then: openstack network agent list; etcdctl get --prefix /haqn/v1/agents; etcdctl lease list")
    print(f"# logs, configuration, database: {spec.work_dir}")


def _exec(options: Options) -> None:
    _replace_by(Lab(options.lab).host(options.host), options.words)


def _crash(options: Options) -> None:
    faults.crash(Lab(options.lab), options.host)


def _heal(options: Options) -> None:
    lab = Lab(options.lab)
    if options.reboot:
        services.reboot(lab, options.host)
        vms.plug_again(lab, options.host)
    else:
        faults.thaw(lab, options.host)


def _cut(options: Options) -> None:
    faults.cut(Lab(options.lab), options.host, Cut(options.what), Way(options.way))


def _mend(options: Options) -> None:
    faults.mend(Lab(options.lab), options.host)


def _on_programs(change: Callable[[Host, str], None]) -> Callable[[Options], None]:
    def carry_out(options: Options) -> None:
        lab = Lab(options.lab)
        for service in services.select(lab.spec, options.words):
            change(lab.host(service.host), service.name)

    return carry_out


def _restart(options: Options) -> None:
    lab = Lab(options.lab)
    for service in services.select(lab.spec, options.words):
        services.restart(lab, service)


def _vm_add(options: Options) -> None:
    lab = Lab(options.lab)
    host = options.host or lab.spec.of_kind(Kind.COMPUTE)[0].name
    with Client(lab.spec.api_url) as client:
        network_id = lookup.by_name(client, "network", options.network)["id"]
        vm = vms.add(lab, client, name=options.name, host=host, network_id=network_id)
    print(f"{vm.name} on {vm.host}: {vm.address}, port {vm.port_id}")


def _vm_delete(options: Options) -> None:
    lab = Lab(options.lab)
    with Client(lab.spec.api_url) as client:
        vms.delete(lab, client, options.name)


def _vm_exec(options: Options) -> None:
    lab = Lab(options.lab)
    vm = vms.find(lab, options.name)
    _replace_by(lab.host(vm.host), options.words, namespace=vm.namespace)


def _vm_list(options: Options) -> None:
    for vm in vms.list_vms(Lab(options.lab)):
        print(f"{vm.name} on {vm.host}: {vm.address}, port {vm.port_id}")


def _probe(options: Options) -> int:
    lab = Lab(options.lab)
    vm = vms.find(lab, options.vm)
    with Client(lab.spec.api_url) as client:
        router_address = lookup.external_address(lookup.router_of_vm(client, vm.port_id))
    print(f"{vm.name} <-> external host, {options.seconds:g} s or Ctrl-C", flush=True)
    with BothWays(lab, vm, [router_address]) as both_ways:
        try:
            time.sleep(options.seconds)
        except KeyboardInterrupt:
            print()
        outbound, inbound = both_ways.stop()
    _print_probe(f"{vm.name} -> external", outbound)
    _print_probe("external -> router", inbound)
    return 0 if outbound.all_answered and inbound.all_answered else 1


def _chaos(options: Options) -> int:
    file = options.log or Path(f"build/chaos-{options.seed}.log")
    plan = chaos.Plan(
        seed=options.seed,
        faults=options.faults,
        seconds=options.seconds,
        log=file,
        slack=options.slack,
        keep=options.keep,
    )
    outcome = chaos.run(Lab(options.lab), plan)
    print(f"the log is {file}")
    return 1 if outcome.violations else 0


def _demo(options: Options) -> int:
    return demo.run(options.lab)


def _print_probe(what: str, result: ProbeResult) -> None:
    for target in result.targets:
        print(
            f"{what} {target.target}: {target.sent} sent, {target.received} received,"
            f" largest gap {target.largest_gap_ms:.0f} ms"
        )


def _replace_by(host: Host, words: list[str], namespace: str | None = None) -> None:
    """Become the program: its terminal, its signals, its exit status."""
    command = host.enter((words[1:] if words[:1] == ["--"] else words) or ["bash"], namespace=namespace)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="haqn-lab", description=__doc__)
    parser.add_argument("--lab", metavar="NAME", help="which lab; several may be up (default: haqn)")
    parser.set_defaults(usual_lab="haqn")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[Options], int | None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    defaults = LabSpec()
    up = add("up", _up, "build the lab and start everything; what is left of an earlier one goes first")
    up.add_argument("--hosts", type=int, default=defaults.hosts, help="network hosts")
    up.add_argument("--computes", type=int, default=defaults.computes, help="compute hosts")
    up.add_argument("--etcd", type=int, choices=(1, 3), default=defaults.etcd, help="members of etcd")
    up.add_argument("--etcd-auth", action="store_true", help="etcd lets in only users with the least rights each")
    up.add_argument("--ttl", type=int, default=defaults.lease_ttl, metavar="S", help="lease TTL in seconds")
    up.add_argument("--advert-ms", type=int, default=defaults.advert_ms, metavar="N", help="VRRP advert interval")
    add("down", _down, "end the lab; logs and data stay until the next up")
    add("status", _status, "hosts, programs, cuts, VMs").add_argument("--json", action="store_true")
    add("env", _env, "shell variables for openstack and etcdctl")
    execute = add("exec", _exec, "run a command on a host")
    execute.add_argument("host")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")

    add("crash", _crash, "take the host's links down and freeze its processes").add_argument("host")
    heal = add("heal", _heal, "bring a crashed or cut host back")
    heal.add_argument("host")
    heal.add_argument("--reboot", action="store_true", help="as after a power cycle, not with the state that it had")
    cut = add("cut", _cut, "take one kind of traffic away from the host")
    cut.add_argument("host")
    cut.add_argument("what", choices=[what.value for what in Cut])
    cut.add_argument("--way", choices=[way.value for way in Way], default=Way.BOTH.value, help="seen from the host")
    add("mend", _mend, "undo all cuts of the host").add_argument("host")
    for name, change, text in (
        ("kill", _on_programs(faults.kill), "SIGKILL a program"),
        ("pause", _on_programs(faults.pause), "SIGSTOP a program"),
        ("resume", _on_programs(faults.resume), "SIGCONT a program"),
        ("restart", _restart, "stop a program and start it"),
    ):
        add(name, change, f"{text}: `net1 agent`, `net1 keepalived`, api, monitor, monitor1, etcd, etcd1").add_argument(
            "words", nargs="+", metavar="PROGRAM"
        )

    probe = add("probe", _probe, "5 ms pings VM -> external host and external host -> the VM's router")
    probe.add_argument("vm")
    probe.add_argument("--seconds", type=float, default=10.0)
    played = add("chaos", _chaos, "random faults, two at once at most, and whether the invariants hold meanwhile")
    _add_chaos_options(played)
    # in a lab of its own, because it ends with it
    add("demo", _demo, "the whole story in two minutes").set_defaults(usual_lab="demo")
    _add_vm(commands)
    return parser


def _add_vm(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    vm = commands.add_parser("vm", help="virtual machines on the compute hosts").add_subparsers(
        required=True, metavar="ACTION"
    )
    vm_add = vm.add_parser("add", help="make a port and a VM on it")
    vm_add.add_argument("name")
    vm_add.add_argument("--network", required=True, help="name or id")
    vm_add.add_argument("--host", help="compute host (default: the first)")
    vm_add.set_defaults(command=_vm_add)
    vm_delete = vm.add_parser("delete", help="remove a VM and its port")
    vm_delete.add_argument("name")
    vm_delete.set_defaults(command=_vm_delete)
    vm_exec = vm.add_parser("exec", help="run a command in a VM")
    vm_exec.add_argument("name")
    vm_exec.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    vm_exec.set_defaults(command=_vm_exec)
    vm.add_parser("list", help="the VMs that there are").set_defaults(command=_vm_list)


def _add_chaos_options(played: argparse.ArgumentParser) -> None:
    # in a lab of its own, because it ends with it
    played.set_defaults(usual_lab="chaos")
    played.add_argument("--seed", type=int, default=random.randrange(10000), help="the same one plays the same faults")  # noqa: S311 - chance is what is wanted
    played.add_argument("--faults", type=int, default=50, help="how many are inflicted")
    played.add_argument("--seconds", type=float, default=36000.0, help="after so long nothing more is inflicted")
    played.add_argument("--slack", type=float, default=1.0, help="stretch all bounds, for a machine that is busy")
    played.add_argument("--log", type=Path, help="file of the log (default: build/chaos-SEED.log)")
    played.add_argument("--keep", action="store_true", help="leave the lab up at the end")


if __name__ == "__main__":
    sys.exit(main())
