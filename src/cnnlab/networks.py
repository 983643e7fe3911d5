"""The file of a trained network: npz without pickle, which carries its own description."""

import importlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data import Normalizer
from cnnlab.nn import Initializer, Layer, Params, Sequential, pack, unpack
from cnnlab.trust import trusted

KINDS = (Layer, Initializer, Normalizer)  # what a file may build, and dataclasses only


def network_bytes(
    network: Sequential, params: Params, shape: tuple[int, ...], rule: Normalizer, classes: Sequence[str] = ()
) -> bytes:
    """The content of the file: layers, image shape, normalisation and classes as JSON, and the packed parameters."""
    header = {"network": _encode(network), "shape": shape, "normalizer": _encode(rule), "classes": list(classes)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, header=np.array(json.dumps(header)), theta=pack(params))
    return buffer.getvalue()


def load_network(path: Path) -> tuple[Sequential, Params, tuple[int, ...], Normalizer]:
    """(network, parameters, image shape, normaliser), as they were saved.

    ValueError where the file is none of a network, names what is no layer, normaliser or initialiser of cnnlab or of a
    package in `CNNLAB_TRUST`, or where its parameters are not those of its layers.
    """
    header, theta = json.loads(_read(path, "header").item()), _read(path, "theta")
    network, shape = _decode(header["network"]), tuple(header["shape"])
    like, _ = network.init(shape, np.random.default_rng(0))
    if theta.shape != pack(like).shape:
        raise ValueError(f"{path.name}: {theta.size} parameters where its layers have {pack(like).size}")
    return network, unpack(theta, like), shape, _decode(header["normalizer"])


def class_names(path: Path) -> tuple[str, ...]:
    """The names of the classes that a network's file knows; files of old know none."""
    return tuple(json.loads(_read(path, "header").item()).get("classes", ()))


def _read(path: Path, name: str) -> np.ndarray:
    """An array of a network's file."""
    if zipfile.is_zipfile(path):
        with np.load(path, allow_pickle=False) as archive:
            if {"header", "theta"} <= set(archive):
                return archive[name]
    raise ValueError(f"{path} is no file of a network: choose one from the folder model/artifacts of a run")


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
    """The way back from `_encode`."""
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"])
    if "dict" in value:
        return {name: _decode(item) for name, item in value["dict"]}
    module, _, name = value["type"].partition(":")
    kind = getattr(importlib.import_module(module), name, None) if trusted(module) else None
    if not (isinstance(kind, type) and issubclass(kind, KINDS) and is_dataclass(kind)):
        package = module.partition(".")[0]
        also = "" if trusted(module) else f"; name its package in CNNLAB_TRUST if you trust it: CNNLAB_TRUST={package}"
        raise ValueError(f"{value['type']} is no layer, normaliser or initialiser of cnnlab{also}")
    return kind(**{name: _decode(item) for name, item in value["fields"].items()})
