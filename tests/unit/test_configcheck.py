"""A configuration's errors are told all at once."""

from pathlib import Path

import pytest

from haqn import conf as haqn_conf
from haqn.cmd import configcheck, manage

GOOD = "[DEFAULT]\ndebug = true\nuse_journal = true\n[agent]\nha_address = 10.0.0.1\n[oslo_policy]\nwhatever = 1\n"


def errors(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "haqn.conf"
    file.write_text(text)
    return configcheck.errors(haqn_conf.load(["--config-file", str(file)]))


def test_a_good_one_has_none(tmp_path):
    assert errors(tmp_path, GOOD) == []


def test_all_are_told_at_once(tmp_path):
    found = errors(
        tmp_path,
        "[DEFAULT]\nhots = a\n[database]\nconnection = nonsense\n"
        "[etcd]\nendpoints = http://a:1,b\nclient_key = /nowhere\nuser = me\n"
        "[api]\nauth_strategy = noauth\nbind_host = 10.0.0.1\ntls_key = /nowhere\n"
        "vni_min = 10\nvni_max = 5\nbase_mac = xx\n"
        "[agent]\nha_address = 10.0.0.300\n",
    )
    assert [line.split(":")[0] for line in found] == [
        "[DEFAULT] hots",
        "[database] connection",
        "[etcd] endpoints",
        "[etcd] endpoints",
        "[etcd] client_key",
        "[etcd] client_cert",
        "[etcd] user",
        "[api] auth_strategy",
        "[api] tls_key",
        "[api] tls_cert",
        "[api] vni_min",
        "[api] base_mac",
        "[agent] ha_address",
    ]


def test_what_oslo_config_refuses_is_told_with_what_is_misspelt(tmp_path):
    found = errors(tmp_path, "[etcd]\nlease_ttl = 1\n[api]\nbind_port = many\nthread = 2\n")
    assert [line.split(":")[0] for line in found] == ["[etcd] lease_ttl", "[api] bind_port", "[api] thread"]


@pytest.mark.parametrize(("text", "status"), [(GOOD, 0), ("[api]\nthread = 2\n", 1)])
def test_the_command_fails_if_there_is_one(tmp_path, text, status, capsys):
    file = tmp_path / "haqn.conf"
    file.write_text(text)
    assert manage.main(["--config-file", str(file), "config", "check"]) == status
    assert bool(capsys.readouterr().err) == bool(status)
