"""Files that are replaced whole, with their mode, and under the name by which others know them."""

from __future__ import annotations

import pytest

from quantum_control.resources.whole_file import replace_file


def test_a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o640)
    replace_file(file, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o7777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_symbolic_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    file, link, first = tmp_path / "there" / "file", tmp_path / "link", tmp_path / "first"
    file.write_bytes(b"old")
    link.symlink_to("there/file")
    first.symlink_to(link)
    replace_file(first, b"new")
    assert first.readlink() == link
    assert str(link.readlink()) == "there/file"
    assert not file.is_symlink()
    assert file.read_bytes() == b"new"
    assert sorted(tmp_path.rglob("*")) == sorted([file.parent, file, link, first])


def test_a_link_that_leads_nowhere_is_told_and_stays(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        replace_file(link, b"new")
    assert list(tmp_path.iterdir()) == [link]
