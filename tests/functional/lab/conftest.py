import uuid
from collections.abc import Iterator

import pytest

from haqn.lab.cluster import Lab
from haqn.lab.spec import LabSpec


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Hosts and wires with nothing running in them, under a name that no other test run has."""
    lab = Lab(f"t{uuid.uuid4().hex[:7]}")
    try:
        lab.build(LabSpec(hosts=2, computes=1))
        yield lab
    finally:
        lab.destroy(forget=True)
