import pytest

from haqn.lab.services import Service, select, services
from haqn.lab.spec import LabSpec

SPEC = LabSpec(hosts=2, computes=1, etcd=3)


def test_monitors_are_on_different_control_hosts_where_there_are_several() -> None:
    monitors = [one for one in services(SPEC) if one.name.startswith("monitor")]

    assert monitors == [Service("ctl1", "monitor1"), Service("ctl2", "monitor2")]
    assert {one.host for one in services(LabSpec()) if one.name.startswith("monitor")} == {"ctl1"}


def test_etcd_starts_first_and_agents_last() -> None:
    names = [one.name for one in services(SPEC)]

    assert names[:3] == ["etcd1", "etcd2", "etcd3"]
    assert names[-3:] == ["agent"] * 3


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["api"], [("ctl1", "api")]),
        (["monitor"], [("ctl1", "monitor1"), ("ctl2", "monitor2")]),
        (["etcd3"], [("ctl3", "etcd3")]),
        (["net2", "agent"], [("net2", "agent")]),
        (["net1", "keepalived"], [("net1", "keepalived")]),
        (["ctl2", "monitor"], [("ctl2", "monitor2")]),
    ],
)
def test_programs_are_named_as_people_name_them(words: list[str], found: list[tuple[str, str]]) -> None:
    assert [(one.host, one.name) for one in select(SPEC, words)] == found


@pytest.mark.parametrize(
    "words", [["agent"], ["net1", "api"], ["cmp1", "keepalived"], ["net3", "agent"], [], ["net1", "agent", "now"]]
)
def test_what_means_nothing_is_refused_with_what_there_is(words: list[str]) -> None:
    with pytest.raises(ValueError, match="there are: cmp1 agent"):
        select(SPEC, words)
