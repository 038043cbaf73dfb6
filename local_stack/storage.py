"""Folders and the disk under them, with errors that say what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ConfigError

LEAST_FREE_BYTES = 500 * 1024 * 1024
ADVISED_FREE_BYTES = 2 * 1024**3
FULL = {errno.ENOSPC, errno.EDQUOT}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def home_folder(environ: Mapping[str, str], current: Path) -> Path:
    """Return the folder of the local stack: `TILLSTREAM_HOME`, else `.tillstream` in the current folder."""
    return Path(environ.get("TILLSTREAM_HOME") or current / ".tillstream").expanduser().resolve()


def cache_folder(environ: Mapping[str, str], user_home: Path) -> Path:
    """Return the folder of downloads that all stacks of a user share."""
    if own := environ.get("TILLSTREAM_CACHE"):
        return Path(own).expanduser().resolve()
    return Path(environ.get("XDG_CACHE_HOME") or user_home / ".cache") / "tillstream"


def make_folder(folder: Path) -> Path:
    """Make `folder` and the ones above it, and return it; raises ConfigError when it can't be made."""
    with translated_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_private_folder(folder: Path) -> Path:
    """Make `folder`, or close one that is there: what lies in it is the merchant's. Raises as `make_folder` does."""
    with translated_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    return folder


def free_bytes(folder: Path) -> int:
    """Return the bytes that can still be written to the disk of `folder` or its nearest existing parent."""
    return shutil.disk_usage(existing_part(folder)).free


def existing_part(folder: Path) -> Path:
    """Return `folder`, or the nearest folder above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def require_space(folder: Path, *, free: Callable[[Path], int] = free_bytes) -> None:
    """Raise ConfigError when the disk of `folder` is too full to start on."""
    if free(folder) < LEAST_FREE_BYTES:
        raise disk_full(folder)


def disk_full(folder: Path) -> ConfigError:
    """Return the error for a full disk under `folder`."""
    return ConfigError(
        f"The disk of {folder} is full: free at least 2 GB there, or set TILLSTREAM_HOME "
        "(data) or TILLSTREAM_CACHE (downloads) to a folder on another disk.",
        field="TILLSTREAM_HOME",
    )


def write_private(file: Path, text: str) -> None:
    """Replace `file` by one with `text` that only we can read; readers see the old or the new one."""
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as writer:
        writer.write(text)
    fresh.replace(file)


@contextmanager
def translated_disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into a ConfigError that names `folder` and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(folder) from error
        if error.errno in CLOSED:
            raise ConfigError(
                f"{folder} can't be written ({error.strerror}): give yourself write access to it, or set "
                "TILLSTREAM_HOME (data) or TILLSTREAM_CACHE (downloads) to a folder of yours.",
                field="TILLSTREAM_HOME",
            ) from error
        raise
