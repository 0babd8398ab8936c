"""Settings that all tests share."""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings
from integration.host_network import machine_left_as_found

# No deadline, nor a check of how fast examples are made: a busy machine is not a defect. Derandomised: a run
# that passed passes again.
settings.register_profile(
    "quantum_control", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quantum_control")


class LeftBehindError(AssertionError):
    """A test has left something behind, or could not clear it away: no second try makes that good."""


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
    What depends on other processes gets a second try, which the summary lists; not so what has left
    something behind, since the second try would take the machine for clean as the first has left it.
    """
    for item in items:
        if item.path.parent.name in WITH_OTHERS:
            item.add_marker(pytest.mark.flaky(reruns=1, rerun_except=LeftBehindError.__name__))
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Whatever fails in clearing up, by whichever fixture, fails the run."""
    try:
        return (yield)
    except (Exception, pytest.fail.Exception) as error:
        raise LeftBehindError(f"after {item.nodeid}: {error}") from error


@pytest.fixture(scope="session")
def machine_as_found() -> Generator[None, None, None]:
    """What is compared from the first test of the group "kernel" to the end."""
    with machine_left_as_found():
        yield


@pytest.fixture(autouse=True)
def machine_of_kernel_tests(request: pytest.FixtureRequest) -> None:
    """Tests that make control groups or queues are watched, in the one process that has them."""
    group = request.node.get_closest_marker("xdist_group")
    if group is not None and group.args == ("kernel",):
        request.getfixturevalue("machine_as_found")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself for want of a package fails where nothing may be missing."""
    report = yield
    if report.outcome == "skipped" and os.environ.get("QC_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"required here (QC_REQUIRE_ALL=1): {report.longrepr[2]}"
    return report
