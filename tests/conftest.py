"""Settings that all tests share."""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

# No deadline: a busy machine is not a defect. Derandomised: a run that passed passes again.
settings.register_profile("quantum_control", deadline=None, derandomize=True)
settings.load_profile("quantum_control")

WITH_OTHERS = ("bench", "daemon", "demo", "integration", "validation")
"""Folders of tests that share the machine with servers, load and daemons that they start: one in some
thousands of them fails for want of processor time. Laws, guard and parsers get no second try."""

# A job in the background of a shell ignores Ctrl-C, and so would all that the tests start, those included
# that are to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, one file is one process's: its servers are started once.

    Files that make control groups or queues, and look whether any are left, are one group ("kernel").
    What depends on other processes gets a second try, which the summary lists.
    """
    for item in items:
        if item.path.parent.name in WITH_OTHERS:
            item.add_marker(pytest.mark.flaky(reruns=1))
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself for want of a package fails where nothing may be missing."""
    report = yield
    if report.outcome == "skipped" and os.environ.get("QC_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"required here (QC_REQUIRE_ALL=1): {report.longrepr[2]}"
    return report
