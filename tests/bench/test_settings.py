"""Settings kept with raw data: what is mixed with them, and what is not."""

import os

import pytest

from quantum_control.bench.settings import FILE, keep_settings
from quantum_control.core.errors import ConfigError

SETTINGS = {"rates": (1e6, 2e6), "seed": 1}


def test_the_same_settings_go_on_and_the_file_stays_as_it_is(tmp_path):
    keep_settings(tmp_path, SETTINGS)
    kept = (tmp_path / FILE).read_text()
    keep_settings(tmp_path, SETTINGS)
    assert (tmp_path / FILE).read_text() == kept


@pytest.mark.parametrize("other", [{"seed": 2}, {"rates": (1e6,)}, {"jobs": 1}], ids=str)
def test_others_are_refused(tmp_path, other):
    keep_settings(tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match="give another folder"):
        keep_settings(tmp_path, SETTINGS | other)


def test_so_is_a_machine_of_other_processors(tmp_path, monkeypatch):
    keep_settings(tmp_path, SETTINGS)
    monkeypatch.setattr(os, "cpu_count", lambda: 1024)
    with pytest.raises(ConfigError, match="'cores': 1024"):
        keep_settings(tmp_path, SETTINGS)
