"""The file of a trained network: npz without pickle, which carries its own description."""

import importlib
import io
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data import Normalizer
from cnnlab.nn import Initializer, Layer, Params, Sequential, pack, unpack
from cnnlab.npz import unpacked
from cnnlab.trust import trusted

KINDS = (Layer, Initializer, Normalizer)  # what a file may build, and dataclasses only
GREATEST = 1e30  # of a number, so that float32 holds it
WIDEST = 2**26  # values in a layer's output for one image
FEW = 10**6  # parameters that a network may have without having them in its file


def network_bytes(
    network: Sequential,
    params: Params,
    shape: tuple[int, ...],
    rule: Normalizer,
    classes: Sequence[str] = (),
    dark_ground: bool = False,
) -> bytes:
    """The content of the file: the packed parameters, and as JSON the layers and what is known of the images.

    That is their shape and normalisation, the names of the classes, and `Dataset.dark_ground`.
    """
    header = {"network": _encode(network), "shape": shape, "normalizer": _encode(rule)}
    header |= {"classes": list(classes), "dark_ground": dark_ground}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, header=np.array(json.dumps(header)), theta=pack(params))
    return buffer.getvalue()


def load_network(path: Path) -> tuple[Sequential, Params, tuple[int, ...], Normalizer]:
    """(network, parameters, image shape, normaliser), as they were saved.

    ValueError, in one line, where the file is damaged or none of a network, names what is no layer, normaliser or
    initialiser of cnnlab or of a package in `CNNLAB_TRUST`, or where its parameters are not those of its layers. It
    takes little more memory than the file has bytes.
    """
    header, theta = _read(path)
    try:
        network, rule, shape = _decode(header["network"]), _decode(header["normalizer"]), tuple(header["shape"])
        if not (isinstance(network, Sequential) and _is_rule(rule) and all(type(side) is int for side in shape)):
            raise TypeError
        if min(shape) < 1 or network.widest(shape) > WIDEST:
            raise ValueError(f"{path.name}: images of shape {shape}: choose a network whose layers have fewer values")
        few = _parameters(network, shape) <= 2 * theta.size + FEW  # else its layers would take more than the file has
        like, _ = network.init(shape, np.random.default_rng(0)) if few else ({}, ())
    except ValueError:
        raise
    except Exception:  # what was changed by chance or by hand can be wrong in any way
        raise ValueError(f"{path.name}: what it says of its layers makes no sense") from None
    if theta.shape != pack(like).shape or theta.dtype.kind != "f":
        wanted = pack(like).size if few else "more"
        raise ValueError(f"{path.name}: {theta.size} parameters where its layers have {wanted}")
    return network, unpack(theta, like), shape, rule


def known_of_images(path: Path) -> tuple[tuple[str, ...], bool]:
    """The names of the classes, and whether training images were dark at their edges; files of old know neither."""
    header = _read(path)[0]
    names, dark = header.get("classes", []), header.get("dark_ground", False)
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names) and isinstance(dark, bool)):
        raise ValueError(f"{path.name}: what it says of its images makes no sense")
    return tuple(names), dark


def _read(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """The header and the packed parameters in a network's file."""
    reason = "choose one from the folder model/artifacts of a run"
    try:
        arrays = unpacked(path.read_bytes())
        if {"header", "theta"} <= arrays.keys():
            header = json.loads(arrays["header"].item())
            if {"network", "shape", "normalizer"} <= header.keys():
                return header, arrays["theta"]
    except OSError:
        raise
    except Exception as error:
        reason += f" ({error})" if str(error).startswith("it ") else ""
    raise ValueError(f"{path} is no file of a network: {reason}")


def _is_rule(rule: Any) -> bool:
    """Whether it is a normaliser of bytes."""
    if not isinstance(rule, Normalizer) or not {type(rule.scale), type(rule.shift)} <= {int, float}:
        return False
    return abs(rule.scale) + abs(rule.shift) < GREATEST and type(rule.levels) is int and 0 < rule.levels < 256


def _parameters(network: Sequential, shape: tuple[int, ...]) -> int:
    """How many parameters its layers would make, those of connections that are left out as well."""
    layers = {
        name: replace(layer, connections=None) if hasattr(layer, "connections") else layer  # type: ignore[call-arg]
        for name, layer in network.layers.items()
    }
    return Sequential(layers).cost(shape).parameters


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
        array = np.array(value["array"])
        if array.dtype.kind not in "biuf" or not (np.abs(array) < GREATEST).all():
            raise TypeError
        return array
    if "dict" in value:
        return {name: _decode(item) for name, item in value["dict"]}
    module, _, name = value["type"].partition(":")
    kind = getattr(importlib.import_module(module), name, None) if trusted(module) else None
    if not (isinstance(kind, type) and issubclass(kind, KINDS) and is_dataclass(kind)):
        package = " ".join(module.partition(".")[0].split())
        also = f"; name its package in CNNLAB_TRUST if you trust it: CNNLAB_TRUST={package}"
        also = "" if package == "cnnlab" or trusted(module) else also
        raise ValueError(f"{' '.join(value['type'].split())} is no layer, normaliser or initialiser of cnnlab{also}")
    return kind(**{name: _decode(item) for name, item in value["fields"].items()})
