"""From a composed config's nodes to the objects that they describe."""

from __future__ import annotations

import errno
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from cnnlab.config import located, targets
from cnnlab.data import Dataset
from cnnlab.trust import check_targets, trusted

DAMAGED = (EOFError, struct.error, zipfile.BadZipFile, zlib.error)  # beside ValueError and OSError


def load(node: Mapping[str, Any]) -> Dataset:
    """The dataset that a config's `data` describes; the last two are kept in memory.

    ValueError or OSError, in one line, where its files are not there or damaged.
    """
    try:
        return _loaded(json.dumps(node))
    except (*DAMAGED, KeyError, OSError) as error:
        lacks = isinstance(error, KeyError) and "is not a file in the archive" in str(error)
        if not (lacks or isinstance(error, DAMAGED) or getattr(error, "errno", 0) == errno.EINVAL):
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{node['_target_']}: a file of its images is damaged: {said}") from None


@lru_cache(maxsize=2)
def _loaded(node: str) -> Dataset:
    return instantiated({"data": json.loads(node)})["data"]


def instantiated(node: dict[str, Any]) -> Any:
    """The objects of a node; an error inside comes out as itself, without Hydra's frame.

    One that begins with an option and its value names the option as it is typed: `optimizer.mu=-1: choose ...`.
    """
    check_targets(node)
    for target in targets(node):  # what a module of cnnlab has imported for itself is not meant to be named there
        if target.startswith("cnnlab.") and not trusted(getattr(located(target), "__module__", "")):
            raise ValueError(f"_target_={target}: is not cnnlab's own")
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause, group = error.__cause__, re.search(r"full_key: (?:learner\.(?:model\.)?)?(\S+)", str(error))
        if isinstance(cause, ValueError) and group and re.match(r"\w+=", str(cause)):
            raise ValueError(f"{group[1]}.{cause}") from None
        raise cause or error from None
