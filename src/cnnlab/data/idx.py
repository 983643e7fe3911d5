"""The IDX format of MNIST: two zero bytes, a type, the number of axes, big-endian sizes, values."""

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNSIGNED_BYTE = 0x08
REMEDY = "run `make data`"


def read_idx(
    path: str | Path, shape: tuple[int, ...] | None = None, sha256: str | None = None, remedy: str = REMEDY
) -> NDArray[np.uint8]:
    """The uint8 array of an IDX file, plain or gzip, checked for `shape` and `sha256` (of the plain bytes).

    Raises FileNotFoundError, or ValueError for a file that is cut off or not the expected one, in one line.
    """
    try:
        raw = _plain_bytes(Path(path))
        array = _parse(raw)
        if shape not in (None, array.shape):
            raise ValueError(f"expected an array of shape {shape}, found {array.shape}")
        if sha256 and (found := hashlib.sha256(raw).hexdigest()) != sha256:
            raise ValueError(f"expected content of SHA-256 {sha256}, found {found}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: expected an IDX file, found none; {remedy}") from None
    return array


def pack_idx(array: NDArray[np.uint8]) -> bytes:
    """The plain IDX bytes of a uint8 array: what `read_idx` reads."""
    header = bytes([0, 0, UNSIGNED_BYTE, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.tobytes()


def _plain_bytes(path: Path) -> bytes:
    raw = path.read_bytes()
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError:
        raise ValueError(f"expected a whole gzip file, found one cut off after {len(raw)} bytes") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"expected a sound gzip file, found a damaged one ({error})") from None


def _parse(raw: bytes) -> NDArray[np.uint8]:
    magic = raw[:4]
    if magic[:3] != bytes([0, 0, UNSIGNED_BYTE]) or len(magic) < 4:
        raise ValueError(f"expected IDX magic 000008.. (unsigned bytes), found {magic.hex() or 'nothing'}")
    start = 4 + 4 * magic[3]
    shape = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4))
    size = start + math.prod(shape)
    if len(raw) != size:
        raise ValueError(f"expected {size} bytes for shape {shape}, found {len(raw)}")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)
