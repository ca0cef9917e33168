"""Extension modules only; everything else about the package is in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

# Sources are compiled where they are there: a tree without ext/ installs, and needs no compiler.
# -ffp-contract=off: a fused multiply-add rounds once where the definition of the stream rounds twice.
SOURCES = {path.stem: path for path in sorted(Path("ext").glob("*.pyx"))}

setup(
    ext_modules=[
        Extension(f"streamsample.{name}", [path.as_posix()], extra_compile_args=["-O3", "-ffp-contract=off"])
        for name, path in SOURCES.items()
    ]
)
