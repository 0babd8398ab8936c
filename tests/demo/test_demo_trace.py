"""Recorded arrivals: what files are understood, and what is said of the others."""

import gzip

import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.demo.trace import read


@pytest.mark.parametrize(
    "text",
    [
        "3\n0\n2.5\n",
        "requests\n3\n0\n2.5\n",
        "time,requests\n10:00,3\n10:01,0\n10:02,2.5\n\n\n",
        "3\r\n0\r\n2.5",
    ],
    ids=["plain", "with a header", "csv", "foreign line ends"],
)
def test_counts_are_read_in_their_order_whatever_stands_around_them(tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_bytes(text.encode())
    assert read(path).tolist() == [3.0, 0.0, 2.5]


def test_gzip_is_known_by_its_content(tmp_path):
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(b"count\n1\n2\n", mtime=0))
    assert read(path).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; give one count a line"),
        (b"\n \n", "is empty"),
        (b"count\n", "is empty"),
        (b"count\n1\n-2\n3\n", "line 3: '-2' has no number of 0 or more; give one count"),
        (b"-1\n2\n", "line 1: '-1' has no number"),
        (b"count\n1\n\n3\n", "line 3: '' has no number"),
        (b"1\ninf\n", "line 2: 'inf' has no number"),
        (b"count\n1\nnan\n", "line 3: 'nan' has no number"),
        (b"\xff\xfe\x00", "is not text"),
        (b"\x1f\x8bbroken", "cannot be read"),
        (gzip.compress(b"1\n2\n", mtime=0)[:-6], "cannot be read"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_place_and_the_remedy(tmp_path, content, message):
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="directory"):
        read(tmp_path)
