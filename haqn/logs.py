"""Logging by oslo.log: where it is set up, and what haqn's defaults of its options are.

The three services log by it. The failover program and the advertiser do not: they use the standard library alone.
"""

from __future__ import annotations

from oslo_config import cfg
from oslo_log import (
    _options,  # the lists have no public name
    log,
)

PRODUCT = "haqn"


def set_defaults() -> None:
    """What is different from oslo.log's own defaults: standard error, which systemd passes on to the journal."""
    cfg.set_defaults(_options.generic_log_opts, use_stderr=True)


def options() -> list[cfg.Opt]:
    """The options, all of them in [DEFAULT]."""
    return [option for _, some in _options.list_opts() for option in some]


def register(conf: cfg.ConfigOpts) -> None:
    """Let `conf` know the options; before it reads its files."""
    set_defaults()
    log.register_options(conf)


def setup(conf: cfg.ConfigOpts, version: str) -> None:
    """Log as `conf` says, from now on."""
    log.setup(conf, PRODUCT, version)
