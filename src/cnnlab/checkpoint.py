"""Files of a training's state or a trained network: npz without pickle, written whole or not at all."""

import importlib
import io
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .data import Normalizer
from .nn import Params, Sequential, pack, unpack
from .paths import write_atomically
from .training import State

HEADER = "header"  # the entry that holds everything but arrays, as JSON


def save_state(path: Path, state: State) -> None:
    """Parameters, optimiser, generators and history of a training between two epochs."""
    header = {
        "history": state.history,
        "confusions": state.confusions,
        "order": state.order.bit_generator.state,
        "noise": state.noise.bit_generator.state,
        "distortion": state.distortion.bit_generator.state,
    }
    arrays = {f"optimizer.{name}": array for name, array in state.optimizer.items()}
    write_atomically(path, _packed(header, theta=state.theta, **arrays))


def restore_state(path: Path, state: State) -> bool:
    """Bring a fresh state to where the file stands; False, and untouched, where there is no whole file."""
    try:
        header, arrays = _read(path)
        optimizer = {name: arrays[f"optimizer.{name}"] for name in state.optimizer}
        generators = [_generator(header[name]) for name in ("order", "noise", "distortion")]
        history, confusions = header["history"], header["confusions"]
        theta = arrays["theta"].reshape(state.theta.shape)
    except Exception:  # a damaged file can fail in any way, and then the training starts afresh
        return False
    state.theta[:] = theta
    state.optimizer, (state.order, state.noise, state.distortion) = optimizer, generators
    state.history, state.confusions = history, confusions
    return True


def _generator(kept: dict[str, Any]) -> np.random.Generator:
    """A generator that goes on where another was."""
    generator = np.random.default_rng()
    generator.bit_generator.state = kept
    return generator


def network_bytes(network: Sequential, params: Params, shape: tuple[int, ...], rule: Normalizer) -> bytes:
    """The file of a trained network, which carries its own description: layers, image shape, normalisation."""
    header = {"network": _encode(network), "shape": shape, "normalizer": _encode(rule)}
    return _packed(header, theta=pack(params))


def load_network(path: Path) -> tuple[Sequential, Params, tuple[int, ...], Normalizer]:
    """(network, parameters, image shape, normaliser), as they were saved."""
    header, arrays = _read(path)
    network, shape = _decode(header["network"]), tuple(header["shape"])
    like, _ = network.init(shape, np.random.default_rng(0))
    return network, unpack(arrays["theta"], like), shape, _decode(header["normalizer"])


def _packed(header: dict[str, Any], **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{HEADER: np.array(json.dumps(header)), **arrays})
    return buffer.getvalue()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop(HEADER).item()), arrays


def _encode(value: Any) -> Any:
    """Dataclasses as dicts that name their type, arrays as lists, the rest as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        encoded = {field.name: _encode(getattr(value, field.name)) for field in fields(value)}
        return {"type": f"{_published(kind)}:{kind.__qualname__}", "fields": encoded}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, dict):
        return {"dict": [[name, _encode(item)] for name, item in value.items()]}
    return [_encode(item) for item in value] if isinstance(value, (list, tuple)) else value


def _published(kind: type) -> str:
    """The module to import a type from: its package, where that offers it, since files may move within a package."""
    package = kind.__module__.rpartition(".")[0]
    offered = package and getattr(importlib.import_module(package), kind.__qualname__, None)
    return package if offered is kind else kind.__module__


def _decode(value: Any) -> Any:
    """The way back; only dataclasses are ever built."""
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"])
    if "dict" in value:
        return {name: _decode(item) for name, item in value["dict"]}
    module, _, name = value["type"].partition(":")
    kind = getattr(importlib.import_module(module), name)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise ValueError(f"{value['type']} is not a layer")
    return kind(**{name: _decode(item) for name, item in value["fields"].items()})
