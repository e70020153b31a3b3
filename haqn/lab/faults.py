"""What goes wrong on purpose: crashes, cuts, killed and frozen programs, and their undoing."""

from __future__ import annotations

import signal

from haqn.lab import processes, wires
from haqn.lab.cluster import Lab
from haqn.lab.host import Host
from haqn.lab.processes import Process
from haqn.lab.wires import Cut, Way

KEEPALIVED = "keepalived"


def crash(lab: Lab, host: str) -> None:
    """The host falls silent at once: its links go down at the switch, then all its processes freeze."""
    target = lab.host(host)
    wires.links_down(lab.switch, host)
    processes.freeze(target.processes)


def thaw(lab: Lab, host: str) -> None:
    """The host comes back with the state, now stale, that it had when it crashed; cuts are mended, too."""
    target = lab.host(host)
    wires.mend(lab.switch, host)
    processes.send(target.processes(), signal.SIGCONT)


def cut(lab: Lab, host: str, what: Cut, way: Way = Way.BOTH) -> None:
    """Take the HA traffic, the uplink or the way to the control hosts away from the host, in one direction or both."""
    lab.host(host)
    wires.cut(lab.switch, host, what, way)


def mend(lab: Lab, host: str) -> None:
    """Undo every cut of the host; frozen processes stay frozen."""
    lab.host(host)
    wires.mend(lab.switch, host)


def program(host: Host, name: str) -> list[Process]:
    """The processes of a program on the host: keepalived by its name, anything else by its pid file."""
    if name == KEEPALIVED:
        return [process for process in host.processes() if process.name == KEEPALIVED]
    return host.daemon_processes(name)


def kill(host: Host, name: str) -> None:
    """SIGKILL a program with its children: it gets no chance to say goodbye."""
    processes.kill(lambda: program(host, name))


def pause(host: Host, name: str) -> None:
    """SIGSTOP a program with its children."""
    processes.freeze(lambda: program(host, name))


def resume(host: Host, name: str) -> None:
    """SIGCONT a program with its children."""
    processes.send(program(host, name), signal.SIGCONT)
