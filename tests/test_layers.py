"""A file imports only from its own layer and those below, and heavy libraries only where they belong.

Imports are read from the source, those inside functions included, so nothing needs to run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import streamsample

PACKAGE = Path(streamsample.__file__).parent

LAYERS = """
    cli __main__
    fit interop report
    stored virtual run flight verifier summary
    stores
    stream counts minibatch slab_work twin _twin names planner cutting refusal sizing pressure compiled memory_model
    bins overflow keeping expectation rates chunking target reach exact estimate
    kernels
    posterior posterior_file posterior_saving posterior_parts lying digest agreement
    cells designs domain array_source parameters budget geometry stopping
    errors units filesystems
"""
RANKS = {name: rank for rank, line in enumerate(reversed(LAYERS.strip().splitlines())) for name in line.split()}

UPWARD = {
    # Posterior.for_cells is public and takes the path of an AnnData file, whose reader is an adapter.
    ("posterior", "interop"),
    # A stream and a file give views of themselves to other tools; their makers are adapters.
    ("counts", "interop"),
}

# Where a library may be imported at all; and, of those, where it may be when the file itself is imported.
ANYWHERE, NOWHERE = frozenset(RANKS), frozenset[str]()
ALLOWED: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "torch": (frozenset({"fit", "interop"}), frozenset({"fit"})),
    "pyro": (frozenset({"fit"}), frozenset({"fit"})),
    "anndata": (frozenset({"fit", "interop"}), frozenset({"fit", "interop"})),
    "pandas": (frozenset({"fit", "interop"}), frozenset({"fit", "interop"})),
    "xarray": (frozenset({"interop"}), frozenset({"interop"})),
    "zarr": (frozenset({"stores", "interop"}), NOWHERE),  # optional
    "dask": (frozenset({"interop"}), NOWHERE),  # optional
    "matplotlib": (frozenset({"report"}), NOWHERE),  # report.memory must not load it
    "numba": (frozenset({"kernels", "minibatch", "slab_work", "exact", "run", "summary"}), frozenset({"kernels"})),
    "h5py": (
        frozenset({"stores", "posterior_file", "posterior_saving", "posterior_parts", "virtual", "interop", "report"}),
        frozenset({"stores"}),
    ),
    "mpmath": (frozenset({"exact"}), frozenset({"exact"})),
    "psutil": (frozenset({"budget"}), NOWHERE),  # optional
    "rich": (frozenset({"cli"}), NOWHERE),  # --help must be fast
    "typer": (frozenset({"cli"}), frozenset({"cli"})),
}


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    importer: str
    module: str
    lazy: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def unit(module: str) -> str:
    """``streamsample.stores.npy`` belongs to ``stores``."""
    return module.split(".")[1]


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file except those that only type checkers see."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                for module in modules_of(child):
                    yield Import("/".join(parts), child.lineno, parts[0], module, lazy)
            yield from walk(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def modules_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, "imports are absolute"
    base = str(node.module)
    # `from streamsample import errors` imports a module, `from streamsample.errors import X` names one.
    return [f"{base}.{alias.name}" for alias in node.names] if base == "streamsample" else [base]


def all_imports() -> list[Import]:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
    return [found for path in files for found in imports_of(path)]


IMPORTS = all_imports()
OWN = [found for found in IMPORTS if found.module.startswith("streamsample.")]


def test_every_file_stands_in_a_layer() -> None:
    names = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")}
    assert names - {"__init__"} <= set(RANKS)


def test_no_file_imports_from_a_layer_above() -> None:
    wrong = [
        str(found)
        for found in OWN
        if unit(found.module) in RANKS
        and RANKS[unit(found.module)] > RANKS[found.importer]
        and not (found.lazy and (found.importer, unit(found.module)) in UPWARD)
    ]
    assert wrong == []


def test_each_exception_is_in_use() -> None:
    used = {(found.importer, unit(found.module)) for found in OWN}
    assert used >= UPWARD


def test_kernels_know_nothing_but_kernels() -> None:
    assert [str(found) for found in OWN if found.importer == "kernels" and unit(found.module) != "kernels"] == []


def test_only_the_cli_prints() -> None:
    def prints(path: Path) -> bool:
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        return any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)

    printing = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if prints(path)}
    assert printing == {"cli"}


@pytest.mark.parametrize("library", ALLOWED)
def test_a_heavy_library_is_imported_only_where_it_belongs(library: str) -> None:
    anywhere, at_module_level = ALLOWED[library]
    wrong = [
        str(found)
        for found in IMPORTS
        if found.module.split(".")[0] == library
        and (found.importer not in anywhere or not (found.lazy or found.importer in at_module_level))
    ]
    assert wrong == []


def test_imports_are_seen_with_their_place() -> None:
    seen = {(found.file, found.module, found.lazy) for found in IMPORTS}
    assert ("stores/hdf5", "h5py", False) in seen
    assert ("posterior_file", "h5py", True) in seen
    assert ("posterior", "streamsample.interop.cells", True) in seen
    assert ("posterior", "anndata", False) not in seen  # for type checkers only
