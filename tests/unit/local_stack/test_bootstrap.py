"""What a person reads whose Python can't be used; `scripts/bootstrap` runs with stubs for Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "bootstrap"
TOO_OLD = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.9.2" && exit 0
exit 1
"""
WITHOUT_ENSUREPIP = """#!/bin/sh
case "$*" in
    --version) echo "Python 3.11.2" ;;
    *ensurepip*|*pip*) exit 1 ;;
esac
"""


def bootstrap(tmp_path: Path, python: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("dirname", "sh"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    (tools / "python3").write_text(python)
    (tools / "python3").chmod(0o755)
    command = [str(tmp_path / "scripts" / "bootstrap"), "requirements.lock"]
    return subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, check=False)


def test_old_python_is_named_with_the_fix(tmp_path: Path) -> None:
    result = bootstrap(tmp_path, TOO_OLD)

    assert result.returncode == 1
    assert result.stderr == (
        "Python 3.11 or newer is needed, and python3 is Python 3.9.2: install one, or name it with "
        "make PYTHON=/path/to/python3.\n"
    )


def test_python_without_ensurepip_is_named_with_the_fix(tmp_path: Path) -> None:
    result = bootstrap(tmp_path, WITHOUT_ENSUREPIP)

    assert result.returncode == 1
    assert result.stderr.startswith("python3 can't make a virtual environment since it lacks ensurepip")
    assert "apt-get install python3-venv" in result.stderr


def test_command_starts_from_a_path_with_a_space_and_from_a_long_one(tmp_path: Path) -> None:
    folder = tmp_path / "with a space" / ("long" * 40)
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "scripts")
    (folder / "services").mkdir()
    (folder / "services" / "__main__.py").write_text("import sys\ndef main(): print(sys.argv[1:], __name__)\n")
    (folder / "empty.lock").write_text("")
    environ = {**os.environ, "PYTHON": sys.executable}
    made = subprocess.run([folder / "scripts" / "bootstrap", "empty.lock"], env=environ, check=False)
    assert made.returncode == 0
    command = [folder / ".venv" / "bin" / "tillstream", "an argument", "--help"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "['an argument', '--help'] services.__main__\n"
