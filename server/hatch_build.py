"""Compiles `hardware_concurrency.cpp` into the shared library that lies beside it."""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path("glmserve_server/engines/chatglm")
SOURCE = ENGINE / "hardware_concurrency.cpp"
LIBRARY = ENGINE / "libhardware_concurrency.so"


class HardwareConcurrencyHook(BuildHookInterface[Any]):  # type: ignore[misc]  # hatchling is there at build time only
    """Runs for wheels and for editable installs: both find the library in the package folder."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles the library and marks the wheel as one for this platform and any Python."""
        compile_library(Path(self.root))
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def clean(self, versions: list[str]) -> None:
        """Removes the compiled library."""
        (Path(self.root) / LIBRARY).unlink(missing_ok=True)


def compile_library(root: Path) -> None:
    """Runs the compiler that `CXX` names, or `c++`."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    command = [*compiler, "-std=c++17", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(LIBRARY), str(SOURCE)]
    try:
        subprocess.run(command, cwd=root, check=True)
    except FileNotFoundError:
        raise RuntimeError(f"{compiler[0]!r} was not found: install a C++17 compiler, or name one in CXX") from None
