"""What the rules of writing take from the configuration. Knows no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oslo_config import cfg


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """See the options of the same names in `haqn.conf`."""

    base_mac: str = "fa:16:3e:00:00:00"
    default_ha: bool = True
    vni_min: int = 1
    vni_max: int = 65535
    physical_network_mtu: int = 1500
    #: resource -> the most of it that a project may have by default; -1: no limit
    quotas: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Settings:
        return cls(
            base_mac=conf.api.base_mac,
            default_ha=conf.api.default_ha,
            vni_min=conf.api.vni_min,
            vni_max=conf.api.vni_max,
            physical_network_mtu=conf.api.physical_network_mtu,
            quotas={name.removeprefix("quota_"): most for name, most in conf.quotas.items()},
        )
