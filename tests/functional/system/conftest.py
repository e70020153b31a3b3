"""One cluster for the whole suite; each test begins with it whole, and leaves it as it likes."""

from collections.abc import Iterator

import pytest

from haqn.lab.client import Client
from haqn.lab.spec import LabSpec
from tests.functional.system.stage import TTL, Stage, lab_name, sweep


@pytest.fixture(scope="session", autouse=True)
def _swept() -> None:
    sweep()


@pytest.fixture(scope="session")
def _stage() -> Iterator[Stage]:
    stage = Stage(lab_name(), LabSpec(hosts=3, computes=1, lease_ttl=TTL))
    try:
        stage.build()
        with Client(stage.lab.spec.api_url) as client:
            stage.make_tenant(client)
            yield stage
    finally:
        stage.close()


@pytest.fixture
def stage(_stage: Stage) -> Stage:
    _stage.mend()
    return _stage
