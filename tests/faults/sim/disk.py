"""Real files whose power may fail: only what was fsynced is there for sure afterwards, the seed decides about the rest.

A file's content is durable as it was at its last fsync, a name in a directory as it was at the last fsync of that
directory. What SQLite has committed is durable (synchronous=FULL is SQLite's own to keep, and its tests').

An fsync that fails has lost what it was to write: a later one that succeeds does not bring it back, as on Linux.
"""

import os
import shutil
import stat
from pathlib import Path

from sim.dice import Dice

_DATABASE = "aggregator.db"
Listing = dict[str, int]
"""Name → inode."""


class Disk:
    """What is durable below some directories, one a machine."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._content: dict[int, bytes] = {}
        """Of each inode that was fsynced; directories have none."""
        self._names: dict[str, Listing] = {}
        self._pins: dict[int, int] = {}
        """A descriptor for each inode in `_content`, so that its number is not given to another file."""
        self._lost: dict[int, tuple[int, int]] = {}
        """Of inodes whose fsync has failed: from where to where what was written is lost."""

    def adopt(self, root: Path) -> None:
        """All that is there is durable."""
        for each in [name for name in self._names if Path(name).is_relative_to(root)]:
            del self._names[each]
        for where, _, files in os.walk(root):
            self._names[where] = _listing(where)
            for name in files:
                if not name.startswith(_DATABASE):
                    path = Path(where, name)
                    self._keep(path.stat().st_ino, path.read_bytes(), str(path))
        self._forget_unnamed()

    def fsynced(self, descriptor: int) -> None:
        """This file or directory was fsynced."""
        path, status = str(Path(f"/proc/self/fd/{descriptor}").readlink()), os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            before, self._names[path] = self._names.get(path, {}), _listing(path)
            if before.items() - self._names[path].items():
                self._forget_unnamed()
        else:
            self._keep(status.st_ino, Path(f"/proc/self/fd/{descriptor}").read_bytes(), path)

    def failed(self, descriptor: int) -> None:
        """An fsync of this file has failed: what it was to write will never be on the disk."""
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            durable = len(self._content.get(status.st_ino, b""))
            begin, end = self._lost.get(status.st_ino, (durable, durable))
            self._lost[status.st_ino] = (min(begin, durable), max(end, status.st_size))

    def is_durable(self, path: Path, begin: int = 0, end: int | None = None) -> bool:
        """Whether these bytes of a file would be there, as they are now, after a power cut."""
        try:
            inode, content = path.stat().st_ino, path.read_bytes()
        except FileNotFoundError:
            return False
        durable = self._content.get(inode)
        if durable is None or durable[begin:end] != content[begin:end]:
            return False
        if self._names.get(str(path.parent), {}).get(path.name) != inode:
            return False
        for directory in path.parents:
            known = self._names.get(str(directory.parent))
            if known is None:
                return True  # the machine's root
            if known.get(directory.name) != directory.stat().st_ino:
                return False
        return True

    def power_cut(self, root: Path) -> list[str]:
        """Leave what is durable, and of the rest what the seed wants; returns what was lost."""
        lost: list[str] = []
        self._cut(root, lost)
        self.adopt(root)
        return lost

    def close(self) -> None:
        for pin in self._pins.values():
            os.close(pin)
        self._pins.clear()

    def _keep(self, inode: int, content: bytes, path: str) -> None:
        begin, end = self._lost.get(inode, (0, 0))
        self._content[inode] = content[:begin] + bytes(min(end, len(content)) - begin) + content[end:]
        if inode not in self._pins:
            self._pins[inode] = os.open(path, os.O_PATH | os.O_CLOEXEC)

    def _forget_unnamed(self) -> None:
        named = {inode for listing in self._names.values() for inode in listing.values()}
        here = [inode for inode in self._content if inode not in named]
        for inode in here:
            if os.fstat(self._pins[inode]).st_nlink == 0:
                os.close(self._pins.pop(inode))
                del self._content[inode]
                self._lost.pop(inode, None)

    def _cut(self, directory: Path, lost: list[str]) -> None:
        durable, current = self._names.get(str(directory), {}), _listing(str(directory))
        for name in sorted(durable.keys() | current.keys()):
            if name.startswith(_DATABASE):
                continue
            path, old, new = directory / name, durable.get(name), current.get(name)
            chosen = new if old == new or self._dice.chance(0.5) else old
            if chosen is None and new is None:
                continue
            if chosen is None:
                lost.append(f"{path.name} is not there")
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_dir():
                self._cut(path, lost)
            elif chosen != new and chosen not in self._content:
                continue  # a directory that was removed
            else:
                self._settle(path, chosen, new, lost)

    def _settle(self, path: Path, chosen: int, new: int | None, lost: list[str]) -> None:
        durable = self._content.get(chosen, b"")
        content = durable
        if chosen == new:
            now = path.read_bytes()
            if now == durable and chosen in self._content:
                return
            content = self._torn(durable, now)
            if content == now:
                return
        lost.append(f"{path.name} is {'as before' if content == durable else 'torn'}")
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
        path.unlink(missing_ok=True)  # others may be pinned to its inode
        path.write_bytes(content)
        path.chmod(mode)

    def _torn(self, durable: bytes, now: bytes) -> bytes:
        """What is left of a file that was not fsynced as it is now; all files here are appended to or written anew."""
        if self._dice.chance(0.3):
            return durable
        unsynced = now[len(durable) :]
        kept = len(unsynced) if self._dice.chance(0.3) else self._dice.below(len(unsynced) + 1)
        return durable + unsynced[:kept]


def _listing(directory: str) -> Listing:
    with os.scandir(directory) as entries:
        return {entry.name: entry.inode() for entry in entries}
