"""Files and folders that are either complete or not there, whatever happens while they are written.

    1. write everything under a temporary name beside the target
    2. fsync: wait until the disk has it
    3. rename, which the file system does in one step

A kill, a power cut or a full disk before step 3 leaves the target as it was; what lies about under
a temporary name is removed here on an error, and by `recover` after a kill.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout

NEW, OLD = ".new-", ".old-"  # prefixes of temporary names
DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows has no quota error


def write_text(target: Path, text: str) -> None:
    """Write a small text file so that it appears complete or not at all.

    Raises:
        OSError: the disk is full or not writable; the target is as it was.
    """
    new = target.with_name(NEW + target.name)
    try:
        with disk_errors(target):
            new.write_text(text, encoding="utf-8")
            sync_file(new)
            new.replace(target)
            sync_folder(target.parent)
    except BaseException:
        remove(new)
        raise


def append_line(target: Path, line: str) -> None:
    """Add one line to a file; when the disk is full, the file keeps its old length.

    Raises:
        OSError: the disk is full or not writable.
    """
    with disk_errors(target), target.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        rest = memoryview((line + "\n").encode())
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except BaseException:
            file.truncate(size)
            raise


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; on leaving the block it becomes `target`.

    A folder that is already there is replaced, by two renames: for a moment it has another name,
    from which `recover` brings it back.

    Raises:
        OSError: the disk is full or not writable; `target` is as it was.
    """
    new, old = target.with_name(NEW + target.name), target.with_name(OLD + target.name)
    remove(new)
    try:
        with disk_errors(target):
            new.mkdir(parents=True)
            yield new
            sync_tree(new)
            if target.exists():
                target.rename(old)
            new.rename(target)
            sync_folder(target.parent)
    except BaseException:
        remove(new)
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    remove(old)


@contextlib.contextmanager
def only_process(folder: Path, lock_name: str) -> Iterator[None]:
    """Make a folder if need be and keep every other process out of this block.

    The system lets go of the lock when a process ends, however it ends.

    Raises:
        ValueError: somebody is in there already.
        OSError: the folder cannot be made.
    """
    with disk_errors(folder):
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / lock_name, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(
                f"something else is writing to {folder}: another process, or a loop in this one "
                "that was left half-way; let it end, or choose another folder"
            ) from None
        except OSError:
            if is_new:
                folder.rmdir()
            raise
    try:
        yield
    finally:
        lock.release()


def recover(parent: Path) -> None:
    """Tidy up what a kill left in a folder: half-written things go, replaced ones come back."""
    for new in parent.glob(NEW + "*"):
        remove(new)
    for old in parent.glob(OLD + "*"):
        target = parent / old.name.removeprefix(OLD)
        if target.exists():
            remove(old)
        else:
            old.rename(target)


def discard(folder: Path) -> None:
    """Remove a whole folder in such a way that no half of it is ever seen under its name."""
    old = folder.with_name(OLD + folder.name)
    remove(old)
    folder.rename(old)
    remove(old)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there and as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def sync_tree(folder: Path) -> None:
    """Wait until the disk has every file of a folder, and the folders themselves."""
    paths = [folder, *folder.rglob("*")]
    # all at once: a disk takes about as long for twenty files as for one
    with ThreadPoolExecutor(min(16, len(paths))) as pool:
        for _ in pool.map(lambda path: (sync_folder if path.is_dir() else sync_file)(path), paths):
            pass


def sync_file(path: Path) -> None:
    """Wait until the disk has this file."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has this folder's list of names (Windows does so by itself)."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Say in one line that writing failed, and what to do about a full disk.

    The writers of safetensors and of tokenizers raise errors of their own, which are no OSErrors
    but end in "(os error 28)".
    """
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else _os_error_number(error)
        if number is None:
            raise
        raise OSError(number, _explain(number, error), str(target)) from error


def _os_error_number(error: Exception) -> int | None:
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _explain(number: int, error: Exception) -> str:
    if number in DISK_FULL:
        return (
            "the disk is full; nothing half-written was kept, and what was saved before is intact. "
            "Free some space, then start again, with --resume if the run had a checkpoint"
        )
    return (error.strerror if isinstance(error, OSError) else None) or os.strerror(number)
