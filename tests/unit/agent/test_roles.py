"""Role levels: the agent changes them for a newer pair epoch only; within one, VRRP has its way."""

import dataclasses

import pytest

from haqn.agent.pairs import role_level
from haqn.documents import PairDocument
from haqn.model import Role

ACTIVE = PairDocument(
    pair_id=65536, vr_id=1, role=Role.ACTIVE, epoch=5, settled=False, peer_host="b", peer_address="10.0.0.2"
)
BACKUP = dataclasses.replace(ACTIVE, role=Role.BACKUP)
NEW = dataclasses.replace(ACTIVE, epoch=1)
SETTLED = dataclasses.replace(ACTIVE, settled=True)


@pytest.mark.parametrize(
    ("document", "carried", "level", "is_master", "written"),
    [
        (NEW, 0, None, False, 3),  # a new pair: its backup may have been quicker to start
        (ACTIVE, 0, None, False, 1),  # this host was rebooted: it must not outrank a peer that took over
        (NEW, 1, None, False, 1),  # the same within the first epoch, which it has carried out before
        (BACKUP, 0, None, False, 0),
        (SETTLED, 0, None, False, 1),
        (dataclasses.replace(NEW, settled=True), 0, None, False, 1),
        (ACTIVE, 4, 0, False, 3),  # it shall take over, even from a peer that is out of reach
        (BACKUP, 4, 2, True, 0),  # it shall give way
        (BACKUP, 4, 1, True, 0),
        (ACTIVE, 5, 0, False, None),  # it lost the role to VRRP within this epoch
        (BACKUP, 5, 2, True, None),  # it took over within this epoch
        (ACTIVE, 5, 2, True, None),  # the peer may still wake up as a MASTER
        (SETTLED, 5, 2, True, 1),
        (SETTLED, 5, 2, False, None),
        (SETTLED, 5, 1, True, None),
        (SETTLED, 5, 3, True, 1),
        (ACTIVE, 6, 0, False, None),  # an old document
    ],
)
def test_role_level(document, carried, level, is_master, written):
    assert role_level(document, carried, level, is_master=is_master) == written
