"""Which files belong to the repository: tracked, or new and not ignored."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def tracked_files(root: Path = ROOT) -> list[Path]:
    """Absolute paths of the repository's regular files, sorted.

    Raises:
        CalledProcessError: `root` is not in a git repository.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    paths = sorted(root / name for name in set(listed.split("\0")) if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]
