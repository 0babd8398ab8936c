"""What is written down of the machine and the versions at each start of an experiment."""

import shutil
import subprocess

import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.validation import machine
from quantum_control.validation.machine import check_libraries, commit


@pytest.fixture
def checkout(tmp_path):
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text("1\n")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for told in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "one")):
        subprocess.run([git, *told], cwd=tmp_path, check=True)  # noqa: S603 - git
    return package


def test_the_commit_is_that_of_the_checkout_and_says_whether_it_was_changed(checkout):
    clean = commit(checkout)
    assert len(clean) >= 7
    (checkout / "module.py").write_text("2\n")
    assert commit(checkout) == f"{clean}-dirty"


def test_a_package_in_a_folder_of_somebody_elses_checkout_has_no_commit(checkout):
    inside = checkout / "site-packages" / "quantum_control"
    inside.mkdir(parents=True)
    assert commit(inside) is None


def test_all_libraries_that_are_missing_are_named(monkeypatch):
    check_libraries()
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs scipy, statsmodels, matplotlib; install it before the run"):
        check_libraries()
