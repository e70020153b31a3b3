"""Everything that is wrong with a configuration, at once: what is refused, what nobody reads, what cannot work."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from oslo_config import cfg

from haqn import conf as haqn_conf
from haqn import logs
from haqn.api import strategy
from haqn.db.session import create_engine
from haqn.exceptions import ConfigurationRefused, HaqnError

_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


def errors(conf: cfg.ConfigOpts) -> list[str]:
    """One sentence each, `[group] option: ...`; none when all is well."""
    refused = list(_refused(conf))
    if refused:  # what has no value cannot be judged
        return refused + list(_unread(conf))
    return [*_unread(conf), *_impossible(conf)]


def _refused(conf: cfg.ConfigOpts) -> Iterator[str]:
    for group, options in haqn_conf.list_opts():
        values = conf if group == "DEFAULT" else conf[group]
        for option in options:
            try:
                getattr(values, option.dest)
            except (cfg.Error, ValueError) as error:
                yield f"[{group}] {option.name}: {error}"


def _unread(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Misspelt options of haqn's own groups; other groups are those of libraries."""
    known = {group: {name for option in options for name in _names(option)} for group, options in haqn_conf.list_opts()}
    known["DEFAULT"] |= {name for option in logs.options() for name in _names(option)}
    for path in conf.config_file or []:
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(path, sections).parse()
        for group in sorted(set(sections) & set(known)):
            for name in sorted(set(sections[group]) - known[group]):
                yield f"[{group}] {name}: there is no such option ({path})"


def _names(option: cfg.Opt) -> set[str]:
    old = {deprecated.name for deprecated in option.deprecated_opts}
    return {name for name in {option.name, option.dest, *old} if name}


def _impossible(conf: cfg.ConfigOpts) -> Iterator[str]:
    try:
        create_engine(conf.database.connection).dispose()
    except (HaqnError, ImportError, ValueError) as error:
        yield f"[database] connection: {error}"
    except Exception as error:  # each driver has errors of its own
        yield f"[database] connection: cannot be used: {error}"
    yield from (f"[etcd] endpoints: {one!r} is not host:port" for one in conf.etcd.endpoints if not _is_endpoint(one))
    for option in ("ca_cert", "client_cert", "client_key"):
        path = conf.etcd[option]
        if path and not Path(path).is_file():
            yield f"[etcd] {option}: there is no file {path}"
    if bool(conf.etcd.client_cert) != bool(conf.etcd.client_key):
        yield "[etcd] client_cert: a client certificate needs its key, and a key its certificate"
    if bool(conf.etcd.user) != bool(conf.etcd.password):
        yield "[etcd] user: a user needs a password, and a password its user"
    yield from _impossible_access(conf)
    if conf.api.vni_min > conf.api.vni_max:
        yield f"[api] vni_min: {conf.api.vni_min} is above vni_max, {conf.api.vni_max}"
    if not _MAC.fullmatch(conf.api.base_mac):
        yield f"[api] base_mac: {conf.api.base_mac!r} is no MAC address"
    for option in ("ha_address", "tunnel_address"):
        text = conf.agent[option]
        if text and not _parses(ipaddress.ip_address, text):
            yield f"[agent] {option}: {text!r} is no IP address"
    if conf.templates_path and not Path(conf.templates_path).is_dir():
        yield f"[DEFAULT] templates_path: there is no directory {conf.templates_path}"


def _impossible_access(conf: cfg.ConfigOpts) -> Iterator[str]:
    """What is wrong with how clients get to the API."""
    try:
        strategy.check(conf)
    except ConfigurationRefused as error:
        yield f"[api] auth_strategy: {error}"
    for option in ("tls_cert", "tls_key", "tls_client_ca"):
        path = conf.api[option]
        if path and not Path(path).is_file():
            yield f"[api] {option}: there is no file {path}"
    if bool(conf.api.tls_cert) != bool(conf.api.tls_key):
        yield "[api] tls_cert: a certificate needs its key, and a key its certificate"


def _is_endpoint(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) <= 65535 and "/" not in text


def _parses(parser: Callable[[str], object], text: str) -> bool:
    try:
        parser(text)
    except ValueError:
        return False
    return True
