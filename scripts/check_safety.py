"""What is shipped reads nothing in a way that runs code or writes files, and draws secrets from the operating system.

Names are followed through imports (`np`, `from numpy import load as read`), whether they are called or only mentioned.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from tracked import ROOT, tracked_files

PACKAGES = ("fedloom", "edge_client", "aggregator", "strategies", "simulation")

_RUNS_CODE = "runs whatever code its input names; use fedloom.msgpack.decode with a type"
_EXTRACTS = "writes where the archive says; read the members that you know, bounded, from an open zipfile"
FORBIDDEN = {
    **dict.fromkeys(("pickle", "_pickle", "cloudpickle", "dill", "jsonpickle", "joblib"), _RUNS_CODE),
    **dict.fromkeys(("marshal", "shelve", "pandas.read_pickle"), _RUNS_CODE),
    **dict.fromkeys(("eval", "exec", "builtins.eval", "builtins.exec"), "runs its input; use data, not code"),
    **dict.fromkeys(("yaml.load", "yaml.load_all"), "makes any object; use yaml.safe_load"),
    **dict.fromkeys(("yaml.unsafe_load", "yaml.full_load"), "makes any object; use yaml.safe_load"),
    **dict.fromkeys(("tarfile", "shutil.unpack_archive"), _EXTRACTS),
}
"""Modules and functions that may not be mentioned; what is below a module is forbidden with it."""

_NO_OBJECTS = "unpickles objects; call it with allow_pickle=False"
ONLY_WITH = {
    "numpy.load": ("allow_pickle", False, _NO_OBJECTS),
    "numpy.lib.format.read_array": ("allow_pickle", False, _NO_OBJECTS),
    "numpy.lib.npyio.NpzFile": ("allow_pickle", False, _NO_OBJECTS),
    "torch.load": ("weights_only", True, "unpickles objects; call it with weights_only=True"),
}
"""Functions that are safe with one argument, written out, and not without."""

SECRET_PATHS = (
    "fedloom/trust/*", "fedloom/wire/*", "aggregator/*", "edge_client/*", "*secagg*", "*privacy*",
)  # fmt: skip
"""Where keys, ids and nonces are drawn, and noise that hides a person."""
_GUESSABLE = "can be predicted from what it drew before; use os.urandom or secrets"
GUESSABLE = {"random": _GUESSABLE, "numpy.random": _GUESSABLE}

EXCEPTIONS = {
    (
        "aggregator/cohort.py",
        "numpy.random",
    ): "who is invited follows from the job's seed: a run can be repeated",
    ("aggregator/cohorts/base.py", "numpy.random"): "the type of what `aggregator/cohort.py` hands to a rule",
    ("aggregator/flower/serve.py", "random"): "strategies of Flower sample nodes with it: a run can be resumed",
    ("aggregator/initial.py", "numpy.random"): "the first weights follow from the job's seed; all devices see them",
    (
        "aggregator/root_set.py",
        "numpy.random",
    ): "the order of samples follows from the job's seed: a round can be verified",
    ("edge_client/training.py", "numpy.random"): "the order of samples follows from the job's seed",
    (
        "simulation/cohort/shared.py",
        "pickle",
    ): "what a process has written into a file without a name, for its children",
}
"""(file, name) → why it is right there. One that is not needed any more is an error too."""


class Finding(NamedTuple):
    """A name that may not be mentioned where it is."""

    line: int
    name: str
    problem: str


class _Reader(ast.NodeVisitor):
    """Collects what one module mentions against the rules."""

    def __init__(self, tree: ast.Module, rules: dict[str, str]) -> None:
        self.found: list[Finding] = []
        self._rules = rules
        self._names = {"eval": "eval", "exec": "exec"} | dict(_imported(tree))
        self._reads_archives = any(name.split(".")[0] == "zipfile" for name in self._names.values())
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._mention(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = f"{node.module or ''}.{alias.name}"
            if name not in ONLY_WITH:  # judged where it is called
                self._mention(name, node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        name = self._dotted(node.func)
        if name in ONLY_WITH and _has_argument(node, *ONLY_WITH[name][:2]):
            for argument in (*node.args, *node.keywords):
                self.visit(argument)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._reads_archives and node.attr in ("extract", "extractall"):
            self._add(node.lineno, node.attr, _EXTRACTS)
        name = self._dotted(node)
        if name is None:
            self.generic_visit(node)
        else:
            self._mention(name, node.lineno)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self._names:
            self._mention(self._names[node.id], node.lineno)

    def _mention(self, name: str, line: int) -> None:
        if name in ONLY_WITH:
            self._add(line, name, ONLY_WITH[name][2])
        for rule, problem in self._rules.items():
            if name == rule or name.startswith(f"{rule}."):
                self._add(line, rule, problem)

    def _add(self, line: int, name: str, problem: str) -> None:
        if (finding := Finding(line, name, problem)) not in self.found:
            self.found.append(finding)

    def _dotted(self, node: ast.expr) -> str | None:
        """`np.random.rand` as `numpy.random.rand`; None for what is not the attribute of an import."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id)
        if isinstance(node, ast.Attribute) and (parent := self._dotted(node.value)) is not None:
            return f"{parent}.{node.attr}"
        return None


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(name in this module, what it stands for), wherever in the module it is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (root, root)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module or ''}.{alias.name}"


def _has_argument(call: ast.Call, name: str, value: bool) -> bool:
    return any(
        each.arg == name and isinstance(each.value, ast.Constant) and each.value.value is value
        for each in call.keywords
    )


def findings(source: str, path: str) -> Iterator[Finding]:
    """What the module at `path` (relative to the repository) mentions that it must not, exceptions included."""
    rules = FORBIDDEN | (GUESSABLE if any(fnmatch(path, pattern) for pattern in SECRET_PATHS) else {})
    yield from _Reader(ast.parse(source), rules).found


def problems(root: Path, files: Iterable[Path]) -> list[str]:
    """One line for each thing to mend: file, line, what, what to use instead."""
    found, used = [], set()
    for path in files:
        name = path.relative_to(root).as_posix()
        if path.suffix != ".py" or name.split("/")[0] not in PACKAGES:
            continue
        for finding in findings(path.read_text(encoding="utf-8"), name):
            if (name, finding.name) in EXCEPTIONS:
                used.add((name, finding.name))
            else:
                found.append(f"{name}:{finding.line}: {finding.name} {finding.problem}")
    unused = sorted(EXCEPTIONS.keys() - used)
    return found + [f"{name}: {what} is not used there; take it out of EXCEPTIONS" for name, what in unused]


def main() -> int:
    """Exit status 1 if there is any."""
    found = problems(ROOT, tracked_files())
    print("\n".join(found) or "nothing unsafe is read, no secret can be guessed")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
