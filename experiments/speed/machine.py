"""What a speed was measured on: processor, BLAS, versions."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cnnlab.tracking.circumstances import blas


def machine() -> dict[str, Any]:
    """Processor, cores and system, the BLAS that NumPy loads, and the versions of what is compared."""
    import numpy  # noqa: F401 - loads its BLAS, which is then asked

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "blas": blas(),
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in ("numpy", "torch", "jax")},
    }


def described(facts: dict[str, Any]) -> str:
    """Those facts in two lines."""
    libraries = ", ".join(f"{name} {number}" for name, number in facts["versions"].items() if number)
    return f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}\n{libraries}; NumPy's BLAS: {facts['blas']}"


def _cpu() -> str:
    """The processor's name, which Python does not know on Linux."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    """The installed version, without importing the package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
