"""Which schemas a version works on, and what `haqn-manage upgrade check` says of them."""

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

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


def columns_of(url):
    """(table, column) -> (type, whether it may be left out of an INSERT)"""
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    found = {
        (table, column["name"]): (str(column["type"]), column["nullable"] or column["default"] is not None)
        for table in inspector.get_table_names()
        for column in inspector.get_columns(table)
    }
    engine.dispose()
    return found


def test_each_migration_leaves_what_the_version_before_reads_and_writes(tmp_path):
    """Expand first: programs of the version before go on with the new schema. One that takes away what the version
    before has ceased to use (contract) is to be named here.
    """
    url = f"sqlite:///{tmp_path}/growing.sqlite"
    revisions = [script.revision for script in ScriptDirectory(str(schema.MIGRATIONS)).walk_revisions()][::-1]
    before = {}
    for revision in revisions:
        schema.upgrade(url, revision)
        after = columns_of(url)
        assert {place: after.get(place) for place in before} == before, revision
        tables = {table for table, _ in before}
        new = {
            place: may_be_left_out
            for place, (_, may_be_left_out) in after.items() - before.items()
            if place[0] in tables
        }
        assert all(new.values()), f"{revision}: the version before does not know {new}"
        before = after
    assert len(revisions) > 1
