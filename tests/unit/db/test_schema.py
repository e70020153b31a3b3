"""Which schemas a version works on, and what `haqn-manage upgrade check` says of them."""

import pytest
import sqlalchemy as sa

from haqn.cmd import manage
from haqn.db import schema
from haqn.exceptions import SchemaOutdated

# oslo.upgradecheck asks prettytable for a name that is to go
pytestmark = pytest.mark.filterwarnings("ignore:the 'ALL' constant is deprecated:DeprecationWarning")


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/haqn.sqlite"
    schema.upgrade(url)
    return url


def set_revision(url, revision):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    engine.dispose()


def upgrade_check(tmp_path, url, extra=""):
    file = tmp_path / "haqn.conf"
    file.write_text(f"[database]\nconnection = {url}\n[etcd]\nendpoints = 127.0.0.1:1\n{extra}")
    return manage.main(["--config-file", str(file), "upgrade", "check"])


def test_the_schema_of_a_later_version_will_do(url, tmp_path):
    set_revision(url, "9999")
    schema.check(url)
    # etcd is away, which is a warning
    assert upgrade_check(tmp_path, url) == 1


@pytest.mark.parametrize("revision", ["0001", "somebody's"])
def test_that_of_an_older_one_will_not(url, tmp_path, revision):
    set_revision(url, revision)
    with pytest.raises(SchemaOutdated, match="db upgrade"):
        schema.check(url)
    assert upgrade_check(tmp_path, url) == 2


def test_a_wrong_configuration_will_not(url, tmp_path):
    assert upgrade_check(tmp_path, url, "lease_tttl = 7\n") == 2
