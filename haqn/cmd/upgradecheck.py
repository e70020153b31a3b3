"""`haqn-manage upgrade check`: may this version be started on what is there? In the form of OpenStack's tools."""

from __future__ import annotations

from oslo_config import cfg
from oslo_upgradecheck.upgradecheck import Code, Result, UpgradeCommands

from haqn.cmd import configcheck
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.db import schema
from haqn.documents import Heartbeat, decode
from haqn.exceptions import CoordinationError, DatabaseUnavailable, InvalidDocument, SchemaOutdated

_DEADLINE = 2.0


class Checks(UpgradeCommands):
    """Exit status 0: go on; 1: go on after reading the warnings; 2: do not start this version yet."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__()
        self._conf = conf

    def _configuration(self) -> Result:
        wrong = configcheck.errors(self._conf)
        return Result(Code.FAILURE, "\n".join(wrong)) if wrong else Result(Code.SUCCESS)

    def _schema(self) -> Result:
        try:
            schema.check(self._conf.database.connection)
        except SchemaOutdated as error:
            return Result(Code.FAILURE, str(error))
        except DatabaseUnavailable as error:
            return Result(Code.FAILURE, f"cannot ask the database: {error}")
        return Result(Code.SUCCESS)

    def _agents(self) -> Result:
        """Agents that live, by version: those of the version before may go on while this one's leader leads."""
        etcd = Etcd.from_conf(self._conf)
        try:
            beats = etcd.list(keys.AGENTS, deadline=_DEADLINE)[0]
        except CoordinationError as error:
            return Result(Code.WARNING, f"cannot ask etcd: {error}")
        finally:
            etcd.close()
        versions: dict[str, list[str]] = {}
        for key, item in beats.items():
            try:
                beat = decode(item.value, Heartbeat)
            except InvalidDocument as error:
                return Result(Code.FAILURE, f"{key}: {error}")
            versions.setdefault(beat.haqn_version, []).append(beat.host)
        if len(versions) > 1:
            told = "; ".join(f"{version}: {', '.join(sorted(hosts))}" for version, hosts in sorted(versions.items()))
            return Result(Code.WARNING, f"agents of several versions live: {told}")
        return Result(Code.SUCCESS)

    _upgrade_checks = (("Configuration", _configuration), ("Database schema", _schema), ("Agents", _agents))


def run(conf: cfg.ConfigOpts) -> int:
    """Print a table; returns the worst code."""
    return int(Checks(conf).check())
