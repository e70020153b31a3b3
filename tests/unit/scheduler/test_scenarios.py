"""Each file in `scenarios/`: a view in, exactly these actions and holds out."""

from pathlib import Path

import pytest
import yaml

from haqn.scheduler.planner import plan
from tests.unit.scheduler.support import apply, line, policy_of, view_of

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.yaml"))
CASES = [
    pytest.param(case, id=f"{path.stem}-{case['about']}")
    for path in SCENARIOS
    for case in yaml.safe_load_all(path.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_scenario(case):
    view, policy = view_of(case), policy_of(case)
    made = plan(view, policy)

    assert [line(action) for action in made.actions] == case.get("actions", [])
    assert {hold.subject for hold in made.holds} == set(case.get("holds", {}))
    for hold in made.holds:
        assert case["holds"][hold.subject] in hold.reason
    assert made.recheck_in == case.get("recheck_in")
    assert plan(apply(view, made), policy).actions == ()
