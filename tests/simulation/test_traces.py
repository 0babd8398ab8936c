"""Real traces: read as they are, binned, cut into runs."""

import gzip

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.simulation.traces import TRACES, trace, traces_directory

needs_traces = pytest.mark.skipif(
    traces_directory() is None, reason="no folder of traces; set QC_TRACES to one"
)


@pytest.fixture
def counts(tmp_path):
    path = tmp_path / "counts.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("count\n" + "\n".join(str(number) for number in range(1, 24)) + "\n")
    return path


def test_bins_are_sums_and_a_rest_is_dropped(counts):
    np.testing.assert_array_equal(trace(counts, bin=5), [[15.0], [40.0], [65.0], [90.0]])


def test_one_row_a_bin_is_the_trace_itself(counts):
    np.testing.assert_array_equal(trace(counts, bin=1)[:, 0], np.arange(1.0, 24.0))


def test_windows_become_runs_in_the_order_of_time(counts):
    np.testing.assert_array_equal(trace(counts, bin=5, steps=2), [[15.0, 65.0], [40.0, 90.0]])


def test_a_relative_path_is_looked_up_in_the_folder(counts):
    np.testing.assert_array_equal(trace("counts.csv.gz", counts.parent, bin=23), [[276.0]])


def test_more_steps_than_there_are_is_an_error(counts):
    with pytest.raises(ConfigError, match="has 4 bins of 5, fewer than steps=10"):
        trace(counts, steps=10)


def test_the_environment_says_where_the_traces_are(monkeypatch, tmp_path):
    monkeypatch.setenv("QC_TRACES", str(tmp_path))
    assert traces_directory() == tmp_path
    monkeypatch.setenv("QC_TRACES", str(tmp_path / "missing"))
    assert traces_directory() is None
    with pytest.raises(ConfigError, match="set QC_TRACES"):
        trace("nasa")


def test_an_unknown_trace_is_answered_with_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'nasa'"):
        trace("nassa", tmp_path)


@needs_traces
@pytest.mark.parametrize(("name", "mean"), [("nasa", 0.7058), ("twitter", 63.52), ("worldcup", 10951.0)])
def test_the_recorded_traces_are_there(name, mean):
    whole = trace(name, bin=1)
    assert whole.shape[1] == 1
    assert (whole >= 0.0).all()
    assert whole.mean() == pytest.approx(mean, rel=1e-3)
    assert name in TRACES
