"""Completion by the tab key, in the shells that people use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from integration.requirements import require

PROGRAM = Path(sys.executable).with_name("quantum-control")


def sourced(shell):
    return f"_QUANTUM_CONTROL_COMPLETE={shell}_source quantum-control"


SOURCED = {
    "bash": f'eval "$({sourced("bash")})" && complete -p quantum-control',
    "zsh": f'autoload -Uz compinit && compinit -D; eval "$({sourced("zsh")})"'
    "; echo ${_comps[quantum-control]}",
    "fish": f"{sourced('fish')} | source; complete -C 'quantum-control da'",
}
"""What is typed into each shell, as the documentation has it, and a question whether it has taken it."""


def environment(**more):
    return {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", **more}


@pytest.mark.integration
@pytest.mark.parametrize("shell", SOURCED)
def test_a_shell_takes_the_completion(shell, tmp_path):
    require(shutil.which(shell), f"{shell} is not installed; scripts/install-servers installs it")
    done = subprocess.run(  # noqa: S603 - a shell of ours
        [shell, "-c", SOURCED[shell]],
        env=environment(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "dashboards" in done.stdout or "_quantum_control_completion" in done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("da", "dashboards"),
        ("bench memory-", "memory-cgroup"),
        ("bench connections --backend psy", "psycopg_pool"),
        ("replay --js", "--json"),
        ("ctl mode web ac", "active"),
    ],
)
def test_commands_options_and_choices_are_offered(typed, offered):
    line = f"quantum-control {typed}"
    told = subprocess.run(  # noqa: S603 - ours
        [PROGRAM],
        env=environment(
            _QUANTUM_CONTROL_COMPLETE="bash_complete",
            COMP_WORDS=line,
            COMP_CWORD=str(len(line.split()) - 1),
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert f"plain,{offered}" in told.stdout.splitlines(), told.stderr
