import pytest

from haqn.lab.spec import Kind, LabSpec, mac_address


def test_no_two_hosts_share_a_name_or_an_address() -> None:
    spec = LabSpec(hosts=99, computes=99, etcd=3)
    hosts = spec.host_specs()

    assert len({host.name for host in hosts}) == len(hosts) == 99 + 99 + 3 + 1
    assert len({host.address for host in hosts} | {spec.root_address}) == len(hosts) + 1


def test_every_link_name_fits_the_kernel() -> None:
    spec = LabSpec(name="a23456789", hosts=99, computes=99)

    assert all(len(f"{host.name}-uplink") <= 15 for host in spec.host_specs())
    assert len(spec.root_link) <= 15


@pytest.mark.parametrize("name", ["", "Haqn", "1lab", "ten-letters", "a234567890", "../x"])
def test_a_name_that_cannot_be_part_of_a_link_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a lab"):
        LabSpec(name=name)


@pytest.mark.parametrize("bad", [{"hosts": 100}, {"computes": -1}, {"etcd": 2}])
def test_a_size_that_cannot_be_built_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"cannot have|must have"):
        LabSpec(**bad)


def test_an_unknown_host_is_answered_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="ctl1, net1, cmp1, ext"):
        LabSpec(hosts=1).host("net2")


def test_etcd_endpoints_are_the_control_hosts() -> None:
    spec = LabSpec(etcd=3, subnet=7)

    assert spec.etcd_endpoints == [f"10.213.7.{n}:2379" for n in (11, 12, 13)]
    assert [host.name for host in spec.of_kind(Kind.CONTROL)] == ["ctl1", "ctl2", "ctl3"]


def test_mac_addresses_are_unicast_local_and_the_same_each_time() -> None:
    mac = mac_address("haqn", "net1", "under")

    assert mac.startswith("02:")
    assert mac == mac_address("haqn", "net1", "under")
    assert mac != mac_address("haqn", "net1", "uplink")
