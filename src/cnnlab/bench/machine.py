"""What a speed was measured on: processor, BLAS, versions."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, cores and system, the BLAS that NumPy loads, and the versions of what is compared."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "blas": _blas(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in ("numpy", "torch")},
    }


def described(facts: dict[str, Any]) -> str:
    """Those facts in two lines."""
    blas, versions = facts["blas"], facts["versions"]
    libraries = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}\n"
        f"{libraries}; NumPy's BLAS: {blas['name']} {blas['version']} for {blas['architecture']}"
    )


def _cpu() -> str:
    """The processor's name; Python knows it everywhere but on Linux."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _blas() -> dict[str, str]:
    import numpy  # noqa: F401 - loads its BLAS, which is then asked
    from threadpoolctl import threadpool_info

    pool: dict[str, Any] = next((pool for pool in threadpool_info() if pool["user_api"] == "blas"), {})
    keys = {"name": "internal_api", "version": "version", "architecture": "architecture"}
    return {name: str(pool.get(key, "unknown")) for name, key in keys.items()}


def _version(package: str) -> str | None:
    """The installed version, without importing the package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
