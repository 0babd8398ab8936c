"""The picture of a recorded history."""

import gzip
import json

import numpy as np
import pytest
from click.testing import CliRunner

from quantum_control.core.errors import ConfigError
from quantum_control.monitoring.plot import MOST_POINTS, command, draw
from quantum_control.monitoring.recorded import Course, course_of_csv, course_of_records

pytest.importorskip("matplotlib", reason="pip install 'quantum-control[plot]'")

ROWS = [(i, 8 + i % 5, 10, 10.5, 0.01 * (i % 3)) for i in range(50)]


def history(path, rows=ROWS, names="time,demand,size,wanted,force"):
    path.write_text("\n".join([names, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments])


class TestCsv:
    def test_all_columns_are_read(self, tmp_path):
        course = course_of_csv(history(tmp_path / "a.csv"))
        assert set(course.columns) == {"demand", "size", "wanted", "force"}
        assert course.columns["demand"].tolist() == [row[1] for row in ROWS]
        assert course.time[-1] == 49.0

    def test_without_a_time_intervals_are_counted(self, tmp_path):
        course = course_of_csv(history(tmp_path / "a.csv", [(3,), (4,)], "flow"))
        assert course.time.tolist() == [0.0, 1.0]
        assert course.unit == "interval"
        assert set(course.columns) == {"demand"}

    def test_gzip_is_read(self, tmp_path):
        path = tmp_path / "a.csv.gz"
        path.write_bytes(gzip.compress(b"demand,size\n1,2\n"))
        assert course_of_csv(path).columns["size"].tolist() == [2.0]

    def test_what_was_not_measured_is_a_gap(self, tmp_path):
        course = course_of_csv(history(tmp_path / "a.csv", [(1, 2), ("", 2)], "demand,size"))
        assert np.isnan(course.columns["demand"]).tolist() == [False, True]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "nothing to draw"),
            ("a,b\n1,2\n", "nothing to draw"),
            ("demand,size\n", "nothing to draw"),
            ("demand,size\n1,x\n", "line 2: '1,x' has no number for size"),
            ("demand,size\n1\n", "line 2: '1' has no number for size"),
        ],
    )
    def test_what_is_wrong_is_told(self, tmp_path, text, why):
        path = tmp_path / "a.csv"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=why):
            course_of_csv(path)

    @pytest.mark.parametrize(
        "content", [b"\x1f\x8b\x08\x00", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20, b"no gzip"]
    )
    def test_a_damaged_file_is_told(self, tmp_path, content):
        path = tmp_path / "a.csv.gz"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"a\.csv\.gz.*cannot be read"):
            course_of_csv(path)


class TestRecords:
    def test_what_a_daemon_recorded_is_drawn(self, tmp_path):
        lines = [
            {"time": 100.0 + i, "resource": "web", "demand": 8.0, "size": 10, "force": 0.1, "wanted": 10.0}
            for i in range(5)
        ]
        lines[2] |= {"demand": None}
        (tmp_path / "audit.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        done = run(tmp_path, tmp_path / "a.svg")
        assert done.exit_code == 0, done.output
        assert done.output == f"wrote {tmp_path / 'a.svg'}: 5 intervals\n"

    def test_of_several_one_is_to_be_named(self):
        records = [{"time": 1.0, "resource": name, "demand": 1.0} for name in ("a", "b")]
        with pytest.raises(ConfigError, match="holds a, b: name one"):
            course_of_records(records, "folder")

    def test_a_folder_without_records_is_told(self, tmp_path):
        with pytest.raises(ConfigError, match="nothing to draw"):
            command.main([str(tmp_path), str(tmp_path / "a.svg")], standalone_mode=False)


class TestPicture:
    @pytest.mark.parametrize("ending", ["png", "svg", "SVG", "pdf"])
    def test_it_is_drawn_in_the_format_of_its_name(self, tmp_path, ending):
        path = tmp_path / f"a.{ending}"
        done = run(history(tmp_path / "a.csv"), path)
        assert done.exit_code == 0, done.output
        assert path.stat().st_size > 1000

    def test_the_same_history_gives_the_same_file(self, tmp_path):
        course = course_of_csv(history(tmp_path / "a.csv"))
        for name in ("a.svg", "b.svg"):
            draw(course, tmp_path / name)
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()

    def test_size_demand_and_force_are_named(self, tmp_path):
        import matplotlib as mpl

        with mpl.rc_context({"svg.fonttype": "none"}):
            draw(course_of_csv(history(tmp_path / "a.csv")), tmp_path / "a.svg")
        text = (tmp_path / "a.svg").read_text(encoding="utf-8")
        for name in ("demand", "size", "wanted", "force, 1/s", "seconds since the first"):
            assert f">{name}<" in text

    def test_a_long_history_is_drawn_as_means(self, tmp_path):
        import matplotlib as mpl

        n = 2 * MOST_POINTS + 1
        course = Course(np.arange(float(n)), "interval", {"size": np.full(n, 5.0)})
        with mpl.rc_context({"svg.fonttype": "none"}):
            draw(course, tmp_path / "a.svg")
        assert "means over 3 intervals" in (tmp_path / "a.svg").read_text(encoding="utf-8")

    def test_an_unknown_format_is_refused_with_those_that_are_known(self, tmp_path):
        with pytest.raises(ConfigError, match=r"end the name in one of .*\.svg"):
            draw(course_of_csv(history(tmp_path / "a.csv")), tmp_path / "a.foo")

    def test_a_file_that_cannot_be_written_is_told(self, tmp_path):
        with pytest.raises(ConfigError, match="name another FILE"):
            draw(course_of_csv(history(tmp_path / "a.csv")), tmp_path / "none" / "a.svg")

    def test_options_of_a_daemons_folder_are_refused_for_a_file(self, tmp_path):
        path = history(tmp_path / "a.csv")
        with pytest.raises(ConfigError, match="for a daemon's folder"):
            command.main([str(path), str(tmp_path / "a.svg"), "--resource", "x"], standalone_mode=False)
