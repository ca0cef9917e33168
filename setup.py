"""Extension modules only; everything else about the package is in pyproject.toml."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError, LinkError

# -ffp-contract=off: a fused multiply-add rounds once where the definition of the stream rounds twice.
# -g0: Python's own flags ask for debugging symbols, four times the size of the code.
TWIN = Extension("streamsample._twin", ["ext/_twin.pyx"], extra_compile_args=["-O3", "-ffp-contract=off", "-g0"])

NO_COMPILER = """
streamsample has a part in C (ext/_twin.pyx), which could not be compiled: {error}
Install a C compiler and Python's headers (Debian, Ubuntu: apt install gcc python3-dev; Fedora, RHEL: dnf install gcc
python3-devel; macOS: xcode-select --install; on a cluster perhaps: module load gcc) and try again.
To do without this part: STREAMSAMPLE_NO_TWIN=1 pip install ..."""


class BuildTwin(build_ext):
    """Say what to install where there is no compiler."""

    def build_extension(self, ext: Extension) -> None:
        """Compile one extension."""
        try:
            super().build_extension(ext)
        except (BaseError, CompileError, LinkError, OSError) as error:
            raise SystemExit(NO_COMPILER.format(error=error)) from None


if os.environ.get("STREAMSAMPLE_NO_TWIN", "0") in ("", "0"):
    setup(ext_modules=cythonize([TWIN], build_dir="build"), cmdclass={"build_ext": BuildTwin})
else:
    setup()
