"""The picture of the demonstration."""

import os
import sys

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.demo import picture
from quantum_control.demo.load import Load, Segment
from quantum_control.demo.run import Played, Sample

pytest.importorskip("matplotlib", reason="pip install 'quantum-control[plot]'")


def shown(name="steered"):
    """Give a load of two segments, and what a pool of this name has made of it."""
    segment = Segment(1.0, np.array([0.1, 0.5]), np.full(2, 0.03), np.full(2, True))
    samples = (Sample(0.0, 3, 1.0, 0, 0.0, 0.0), Sample(0.5, 8, 1.0, 0, 0.0, 0.0))
    played = Played(np.array([0.01, 0.2]), np.full(2, 0.03), 0, 0, 1.0, 5.0, 5.0, 0.0, samples)
    return Load((segment, segment), np.ones(40), (0.02, 0.05), "test"), {name: [played, played]}


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "SVG"])
def test_it_is_drawn_in_the_format_of_its_name(tmp_path, ending):
    path = tmp_path / f"demo.{ending}"
    picture.check(path)
    picture.draw(path, *shown())
    assert path.stat().st_size > 1000


def test_the_same_figures_give_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        picture.draw(tmp_path / name, *shown())
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_any_number_of_pools_can_be_drawn(tmp_path):
    load, played = shown()
    many = {f"fixed, {size}": played["steered"] for size in range(12)}
    picture.draw(tmp_path / "demo.svg", load, {**many, **played})


@pytest.mark.parametrize("name", ["demo", "demo.foo"])
def test_an_unknown_format_is_refused_with_those_that_are_known(tmp_path, name):
    with pytest.raises(ConfigError, match=r"end the name in one of .*\.svg"):
        picture.check(tmp_path / name)


def test_a_file_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory; name a file"):
        picture.check(tmp_path / "none" / "demo.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        picture.check(tmp_path / "folder.svg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        picture.check(tmp_path / "demo.svg")


def test_checking_leaves_no_file_behind_and_an_old_one_as_it_was(tmp_path):
    picture.check(tmp_path / "new.svg")
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.svg"
    old.write_text("old")
    picture.check(old)
    assert old.read_text() == "old"


def test_without_matplotlib_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'quantum-control\[plot\]'"):
        picture.check(tmp_path / "demo.svg")
