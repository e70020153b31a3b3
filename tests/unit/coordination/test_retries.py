import pytest

from haqn.coordination.retries import Mode, Remedy, Retries, Verdict, refusal, remedy
from haqn.exceptions import Compacted, LeaseNotFound, Refused


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("UNAVAILABLE", "etcdserver: no leader", Remedy.OTHER_ENDPOINT),
        ("DEADLINE_EXCEEDED", "", Remedy.OTHER_ENDPOINT),
        # how etcd itself says that it had no time
        ("UNKNOWN", "context deadline exceeded", Remedy.OTHER_ENDPOINT),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", Remedy.OTHER_ENDPOINT),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", Remedy.NONE),
        ("UNAUTHENTICATED", "etcdserver: invalid auth token", Remedy.NEW_TOKEN),
        ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old", Remedy.NEW_TOKEN),
        ("INVALID_ARGUMENT", "etcdserver: user name is empty", Remedy.NEW_TOKEN),
        ("INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password", Remedy.NONE),
        ("PERMISSION_DENIED", "etcdserver: permission denied", Remedy.NONE),
        ("NOT_FOUND", "etcdserver: requested lease not found", Remedy.NONE),
    ],
)
def test_remedy(code, details, expected):
    assert remedy(code, details) is expected


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("NOT_FOUND", "etcdserver: requested lease not found", LeaseNotFound),
        ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted", Compacted),
        ("PERMISSION_DENIED", "etcdserver: permission denied", Refused),
    ],
)
def test_refusal(code, details, expected):
    error = refusal(code, details)
    assert type(error) is expected
    assert details in str(error)


@pytest.mark.parametrize(
    ("mode", "sent", "details", "verdict", "maybe_applied"),
    [
        (Mode.READ, True, "Socket closed", Verdict.ROTATE, False),
        (Mode.AGAIN, True, "Socket closed", Verdict.ROTATE, True),
        (Mode.ONCE, True, "Socket closed", Verdict.UNKNOWN, True),
        (Mode.ONCE, False, "Socket closed", Verdict.ROTATE, False),
        (Mode.AGAIN, False, "Socket closed", Verdict.ROTATE, False),
        (Mode.ONCE, True, "failed to connect to all addresses; last error: ...", Verdict.ROTATE, False),
        (Mode.AGAIN, True, "failed to connect to all addresses; last error: ...", Verdict.ROTATE, False),
    ],
)
def test_a_write_without_answer_is_never_called_undone(mode, sent, details, verdict, maybe_applied):
    retries = Retries(mode, endpoints=3)
    assert retries.failed("UNAVAILABLE", details, sent=sent) is verdict
    assert retries.maybe_applied is maybe_applied


def test_doubt_stays_over_later_tries():
    retries = Retries(Mode.AGAIN, endpoints=3)
    retries.failed("DEADLINE_EXCEEDED", "", sent=True)
    retries.failed("UNAVAILABLE", "", sent=False)
    assert retries.maybe_applied


def test_a_token_is_renewed_a_few_times_only():
    retries = Retries(Mode.ONCE, endpoints=1)
    verdicts = [retries.failed("UNAUTHENTICATED", "", sent=True) for _ in range(4)]
    assert verdicts == [Verdict.AUTHENTICATE] * 3 + [Verdict.REFUSED]
    assert not retries.maybe_applied


def test_pause_after_each_round():
    retries = Retries(Mode.READ, endpoints=2)
    rounds = []
    for _ in range(4):
        retries.failed("UNAVAILABLE", "", sent=True)
        rounds.append(retries.all_tried)
    assert rounds == [False, True, False, True]
