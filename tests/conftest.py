"""Rules for the whole suite."""

from pathlib import Path

import pytest

_FUNCTIONAL = Path(__file__).parent / "functional"


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes (pytest -n), tests that share a cluster or servers run in one of them, one by one."""
    for item in items:
        if item.path.is_relative_to(_FUNCTIONAL):
            folder = item.path.relative_to(_FUNCTIONAL).parts[0]
            item.add_marker(pytest.mark.xdist_group("lab" if folder in {"lab", "system"} else folder))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that did not run proves nothing: skipped and expected failures fail the suite."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and any(reporter.stats.get(kind) for kind in ("skipped", "xfailed")):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
