"""Reading .npz files that may be damaged, or made to do harm: no pickle, and no more memory than is allowed."""

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others are unpacked all at once, whatever comes out


def unpacked(content: bytes, most: int | None = None) -> dict[str, NDArray[Any]]:
    """The arrays in an .npz file, by name. ValueError, in one line that begins with "it", where it cannot be read.

    Nothing is unpacked where that would take more than `most` bytes: as many as the file has, unless said.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if any(member.compress_type not in KINDS for member in members):
                raise ValueError("it is compressed in a way that NumPy does not use")
            if (size := sum(member.file_size for member in members)) > (len(content) if most is None else most):
                raise ValueError(f"it would unpack to {size:,} bytes, more than it may")
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except zipfile.BadZipFile:
        raise ValueError("it is no npz file, or a damaged one") from None
    except ValueError:
        raise
    except Exception as error:  # a damaged file can be wrong in any way
        raise ValueError(f"it cannot be unpacked ({type(error).__name__})") from None


def _array(content: bytes) -> NDArray[Any]:
    """The array of an .npy file that claims no more values than it has."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"it has an array of the unknown format {version[0]}.{version[1]}")
    shape, in_columns, kind = read[version](stream)
    values = content[stream.tell() :]
    if kind.hasobject or kind.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(f"it has an array of type {kind.kind}, which is not read")
    count = 1
    for length in shape:
        count *= length
    if count * kind.itemsize != len(values):
        raise ValueError(f"it has an array that claims {count * kind.itemsize:,} bytes and has {len(values):,}")
    array = np.frombuffer(values, kind).reshape(shape, order="F" if in_columns else "C")
    return array.copy()  # which may be written to
