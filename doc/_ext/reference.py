"""Writes the reference pages from the code, before Sphinx reads its sources: they cannot be out of date."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

from oslo_config import cfg
from sphinx.application import Sphinx

from haqn import conf as haqn_conf
from haqn import documents
from haqn.api import ha, policies
from haqn.api.app import RESOURCES
from haqn.api.attributes import REQUIRED, UNSET, Attribute
from haqn.api.extensions import load
from haqn.api.resource import Resource
from haqn.coordination import keys
from haqn.model import AgentType


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's hook."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}


def _write(app: Sphinx) -> None:
    directory = Path(app.srcdir) / "reference"
    directory.mkdir(exist_ok=True)
    for name, page in (("rest", _rest()), ("etcd", _etcd()), ("configuration", _configuration())):
        text = "\n".join(page) + "\n"
        file = directory / f"{name}.md"
        # Sphinx reads again what is newer
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    head = list(head)
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())


# -- REST -----------------------------------------------------------------------------------


def _rest() -> Iterator[str]:
    yield "# REST API"
    yield ""
    yield "Neutron's v2.0 API, as far as it is here: requests, their rules of the policy, resources' attributes."
    yield "Made from the tables that the API itself is made from (`haqn.api.app.RESOURCES`, `haqn.api.policies`)."
    yield ""
    yield "## Requests"
    yield ""
    resources = [*RESOURCES]
    added = [*ha.RULES, *(rule for extension in load() for rule in extension.policies)]
    names = sorted(policies.by_request(resources, added).items(), key=lambda item: (item[0][1], item[0][0]))
    rules = {rule.name: rule for rule in policies.defaults(resources, added)}
    yield from _table(
        ["request", "rule", "by default", "the rule is about"],
        (
            [f"`{method} {path}`", f"`{name}`", f"`{rules[name].check_str}`", rules[name].description]
            for (method, path), name in names
        ),
    )
    yield "Besides, for everybody: " + ", ".join(f"`GET {path}`" for path in sorted(policies.OPEN)) + ","
    yield "and Quantum v1 under `/v1.0` and `/v1.1`."
    yield ""
    for resource in resources:
        yield from _resource(resource)


def _resource(resource: Resource) -> Iterator[str]:
    yield f"## {resource.name}"
    yield ""
    yield f"`/v2.0/{resource.path}`."
    yield ""
    yield from _table(
        ["attribute", "kind", "POST", "PUT", "who"], (_attribute(one) for one in resource.attributes.members)
    )


def _attribute(attribute: Attribute) -> list[str]:
    who = "admin" if attribute.admin_only else "all; set by admin" if attribute.admin_sets else "all"
    return [
        f"`{attribute.name}`",
        type(attribute.kind).__name__,
        _on_post(attribute) if attribute.post else "",
        "yes" if attribute.put else "",
        who,
    ]


def _on_post(attribute: Attribute) -> str:
    if attribute.default is REQUIRED:
        return "required"
    if attribute.default is UNSET or attribute.default in ("", None, (), []):
        return "yes"
    return f"yes; default `{attribute.default}`"


# -- etcd -----------------------------------------------------------------------------------


def _etcd() -> Iterator[str]:
    yield "# Keys in etcd"
    yield ""
    yield "All of them are below `/haqn/v1/`; each value is one JSON document. None of it is truth: SQL is, and what is"
    yield "in etcd is derived from it, or lives as long as the process that says it. Unknown fields are ignored and"
    yield "missing ones have the default given here, so that neighbouring versions understand each other."
    yield ""
    pages: list[tuple[str, str, type | None, str]] = [
        (keys.agent(AgentType.L3, "<host>"), "the agent, on its lease", documents.Heartbeat, ""),
        (keys.agent(AgentType.LINUX_BRIDGE, "<host>"), "the agent, on its lease", documents.Heartbeat, ""),
        (keys.LEADER, "the leading monitor, on its lease", documents.LeaderRecord, ""),
        (keys.NUDGE, "the API and haqn-manage", None, "The number of the last outbox line: a hint to look now."),
        (keys.manifest("<host>"), "the leader", documents.Manifest, ""),
        *(
            (f"{keys.desired('<host>')}{kind}/<id>", "the leader", document, "")
            for kind, document in documents.DESIRED_KINDS.items()
        ),
        (f"{keys.OBSERVED}<host>/pairs/<id>", "the agent, on its lease", documents.PairReport, ""),
        (keys.observed_sync("<host>"), "the agent, on its lease", documents.SyncReport, ""),
    ]
    told: set[type] = set()
    for key, writer, document, text in pages:
        yield f"## `{key}`"
        yield ""
        yield f"Written by {writer}. {text or _first_paragraph(document.__doc__).partition(': ')[2].capitalize()}"
        yield ""
        if document is not None and document not in told:
            told.add(document)
            yield f"`documents.{document.__name__}`:"
            yield ""
            yield from _table(["field", "type", "default"], _fields(document))
    nested = [documents.RouterPort, documents.FixedIp, documents.Route]
    yield "## Parts of documents"
    yield ""
    for document in nested:
        yield f"### `{document.__name__}`"
        yield ""
        yield from _table(["field", "type", "default"], _fields(document))


def _fields(document: type) -> Iterator[list[str]]:
    hints = typing.get_type_hints(document)
    for field in dataclasses.fields(document):
        if field.default is not dataclasses.MISSING:
            default = f"`{field.default!r}`"
        elif field.default_factory is not dataclasses.MISSING:
            default = f"`{field.default_factory()!r}`"
        else:
            default = "must be there"
        yield [f"`{field.name}`", f"`{_type_name(hints[field.name])}`", default]


def _type_name(hint: object) -> str:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return hint.__name__
    return str(hint).replace("haqn.documents.", "").replace("haqn.model.", "").replace("typing.", "")


# -- configuration --------------------------------------------------------------------------


def _configuration() -> Iterator[str]:
    yield "# Options"
    yield ""
    yield "In `/etc/haqn/haqn.conf` (or `--config-file`), by group; `etc/haqn/haqn.conf.sample` has the same."
    yield "The environment goes before the file: `OS_AGENT__HA_ADDRESS` is `[agent] ha_address`."
    yield "`haqn-manage config check` names everything that is wrong with a file at once."
    yield ""
    for group, options in haqn_conf.list_opts():
        yield f"## [{group}]"
        yield ""
        yield from _table(["option", "default", "what it is"], (_option(option) for option in options))


def _option(option: cfg.Opt) -> list[str]:
    default = option.sample_default if option.sample_default is not None else option.default
    return [f"`{option.name}`", "" if default in (None, "") else f"`{default}`", option.help or ""]
