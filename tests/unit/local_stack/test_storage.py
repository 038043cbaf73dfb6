from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from local_stack.storage import (
    cache_folder,
    home_folder,
    make_folder,
    make_private_folder,
    require_space,
    translated_disk_errors,
    write_private,
)
from shared.errors import ConfigError


def test_home_is_a_folder_of_the_current_one_unless_named(tmp_path: Path) -> None:
    assert home_folder({}, tmp_path) == tmp_path / ".tillstream"
    assert home_folder({"TILLSTREAM_HOME": "/srv/till"}, tmp_path) == Path("/srv/till")


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({}, "/home/me/.cache/tillstream"),
        ({"XDG_CACHE_HOME": "/var/cache"}, "/var/cache/tillstream"),
        ({"XDG_CACHE_HOME": "/var/cache", "TILLSTREAM_CACHE": "/big"}, "/big"),
    ],
)
def test_cache_is_shared_by_all_stacks_of_a_user(environ: dict[str, str], folder: str) -> None:
    assert cache_folder(environ, Path("/home/me")) == Path(folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_said_with_the_fix(tmp_path: Path, number: int) -> None:
    fix = "is full: free at least 2 GB there, or set TILLSTREAM_HOME"

    with pytest.raises(ConfigError, match=fix), translated_disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_device_that_is_full_is_noticed_when_written_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is full"), translated_disk_errors(tmp_path):
        Path("/dev/full").write_text("one byte is too much")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_closed_folder_is_said_with_the_fix(tmp_path: Path, number: int) -> None:
    fix = r"can't be written .*: give yourself write access"

    with pytest.raises(ConfigError, match=fix), translated_disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_other_errors_of_the_system_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), translated_disk_errors(tmp_path):
        tmp_path.read_text()


def test_nearly_full_disk_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is full"):
        require_space(tmp_path, free=lambda folder: 100 * 1024 * 1024)


def test_space_is_judged_for_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet")


def test_folder_below_a_read_only_system_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="can't be written"):
        make_folder(Path("/sys/tillstream"))


def test_secret_file_is_readable_by_us_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", "old")
    write_private(tmp_path / "secret", "new")

    assert (tmp_path / "secret").read_text() == "new"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_folder_of_data_is_closed_to_others_also_when_it_was_open(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("open", "new"):
        assert make_private_folder(tmp_path / name).stat().st_mode & 0o777 == 0o700
