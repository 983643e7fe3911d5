"""Files that are cut off, changed by chance or made to do harm: one line, and no more memory than they may take.

`CNNLAB_FUZZ=2000` tries more of them. Checkpoints have tests of their own, in test_checkpoint.
"""

import gc
import gzip
import io
import json
import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import ROOT, Home, is_one_line
from tests.test_commands import said  # noqa: F401 - a fixture

from cnnlab.composing.objects import _loaded, load
from cnnlab.data import Normalizer
from cnnlab.data.idx_format import pack_idx, read_idx
from cnnlab.models import lenet5
from cnnlab.networks import network_bytes
from cnnlab.npz import unpacked
from cnnlab.pictures import FORMATS, read
from cnnlab.predictor import Predictor

Said = Callable[..., tuple[object, str]]
Tries = Callable[..., Iterator[Any]]

TRIES = max(20, int(os.environ.get("CNNLAB_FUZZ", "60")) // 2)
NETWORK = lenet5()
SHAPE = (28, 1, 28)
FILE = network_bytes(NETWORK, NETWORK.init(SHAPE, np.random.default_rng(0))[0], SHAPE, Normalizer(1.0, 0.0))
IMAGES = pack_idx(np.arange(84, dtype=np.uint8).reshape(7, 4, 3))
ODD = (None, True, -1, 0, 1.5, 10**9, 1e308, "", "x", "a\nb", [], [[1], [2, 3]], {}, {"dict": [1]}, {"array": "x"})
LARGE = ({"type": "cnnlab.nn:Dense", "fields": {"units": 10**9}}, {"type": "cnnlab.nn:Nothing", "fields": {}})


def damaged(whole: bytes, tries: int = TRIES) -> Iterator[bytes]:
    """A file cut at random places, with bits flipped, bytes put in, and parts of it zero or twice."""
    draw = random.Random(len(whole))
    yield b""
    for _ in range(tries):
        place, length = draw.randrange(len(whole)), draw.choice((1, 1, 2, 50))
        before, part, after = whole[:place], whole[place : place + length], whole[place + length :]
        changed = (b"", bytes(length), part + part, draw.randbytes(length), bytes([part[0] ^ 1 << draw.randrange(8)]))
        yield draw.choice((before, *(before + each + after for each in changed)))


def refusal(read: Callable[[], object]) -> str:
    """The line that something is refused by; "" where it is not."""
    try:
        read()
    except (ValueError, OSError) as error:
        assert is_one_line(str(error)), error
        return str(error)
    return ""


@contextmanager
def within(most: int) -> Iterator[None]:
    """No more bytes than these are taken inside, at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_images_in_idx_files(pack: Callable[[bytes], bytes], tmp_path: Path, tries: Tries) -> None:
    path, refused = tmp_path / "images", 0
    for content in tries(damaged(pack(IMAGES))):
        path.write_bytes(content)
        refused += bool(line := refusal(lambda: read_idx(path)))
        assert not line or str(path) in line
    assert refused > TRIES / 4


@pytest.mark.parametrize("content", [IMAGES[:50], b"no images", gzip.compress(IMAGES)[:40], b"\x1f\x8b" + bytes(99)])
def test_a_command_with_damaged_images(content: bytes, tmp_path: Path, said: Said) -> None:  # noqa: F811
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(content)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(pack_idx(np.zeros(7, np.uint8)))
    code, text = said("train", "data=idx", f"data.folder={tmp_path}", "data.validation=0", "epochs=1")
    assert code == 1 and is_one_line(text) and "-images-idx3-ubyte" in text


SOURCE = """
import numpy as np
from cnnlab.data import Images
from cnnlab.data.source import RawData, source

@source()
def digits(folder):
    with np.load(folder / "digits.npz") as kept:
        images = Images(kept["pixels"], kept["labels"])
    return RawData("digits", images[:40], images[40:], tuple("0123456789"))
"""


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_images_in_npz_files_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: Tries) -> None:
    """NumPy leaves some damaged files open, of which Python warns."""
    (tmp_path / "guest_digits.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CNNLAB_TRUST", "guest_digits")
    draw, path, refused = np.random.default_rng(0), tmp_path / "digits.npz", 0
    np.savez_compressed(path, pixels=draw.integers(0, 256, (50, 5, 5), np.uint8), labels=draw.integers(0, 10, 50))
    for content in tries(damaged(path.read_bytes())):
        path.write_bytes(content)
        refused += bool(refusal(lambda: load({"_target_": "guest_digits.digits", "folder": str(tmp_path)})))
        _loaded.cache_clear()
    gc.collect()  # here, where the warnings are ignored
    assert refused > TRIES / 2


def answered(path: Path) -> Any:
    """What the network in a file says of a black image."""
    return Predictor.of([path]).predict_proba(np.zeros((28, 28), np.uint8))


def test_networks_that_are_damaged(tmp_path: Path, tries: Tries) -> None:
    """Each member of a zip file has a checksum, so that all but a few changes are seen."""
    path, refused = tmp_path / "network.npz", 0
    for content in tries(damaged(FILE)):
        path.write_bytes(content)
        line = refusal(lambda: answered(path))
        assert not line or path.name in line
        refused += bool(line)
    assert refused > TRIES / 2


def nodes(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree of lists and dicts: what it is in, and where."""
    for key in node if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from nodes(node[key])


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_networks_whose_description_was_changed(tmp_path: Path, tries: Tries) -> None:
    arrays, draw, refused = unpacked(FILE), random.Random(0), 0
    for _ in tries(range(TRIES)):
        header = json.loads(arrays["header"].item())
        place, key = draw.choice(list(nodes(header)))
        place[key] = draw.choice((*ODD, *LARGE))
        np.savez(tmp_path / "network.npz", header=np.array(json.dumps(header)), theta=arrays["theta"])
        with within(10**8):
            refused += bool(refusal(lambda: answered(tmp_path / "network.npz")))
    assert refused > TRIES / 2


def test_a_network_whose_options_are_beyond_float32(tmp_path: Path) -> None:
    arrays = unpacked(FILE)
    header = json.loads(arrays["header"].item())
    changed = [place for place, key in nodes(header) if key == "amplitude"]
    for place in changed:
        place["amplitude"] = 1e300
    np.savez(tmp_path / "network.npz", header=np.array(json.dumps(header)), theta=arrays["theta"])
    assert changed and "outputs are not finite" in refusal(lambda: answered(tmp_path / "network.npz"))


def packed(name: str, content: bytes, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def array(shape: tuple[int, ...], content: bytes) -> bytes:
    """An .npy file of bytes whose header claims this shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + content


ZEROS = bytes(10**8)
BOMBS = {
    "deflated": packed("theta.npy", array((10**8,), ZEROS)),
    "compressed in another way": packed("theta.npy", array((10**8,), ZEROS), zipfile.ZIP_BZIP2),
    "a large claim": packed("theta.npy", array((10**6,) * 9, bytes(9)), zipfile.ZIP_STORED),
    "axes without end": packed("theta.npy", array((0, 10**6), bytes(9)), zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_nothing_is_unpacked_to_more_than_it_may(content: bytes) -> None:
    with within(10**6), pytest.raises(ValueError, match=r"^it ") as refused:
        unpacked(content)
    assert is_one_line(str(refused.value))


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    written = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("text"), "c": np.asfortranarray(np.eye(3))}
    np.savez(tmp_path / "x.npz", **written)
    np.savez_compressed(tmp_path / "y.npz", **written)
    for name, most in (("x.npz", None), ("y.npz", 10**4)):
        found = unpacked((tmp_path / name).read_bytes(), most)
        assert found.keys() == written.keys()
        assert all((found[key] == value).all() and found[key].dtype == value.dtype for key, value in written.items())


def test_a_command_with_a_network_that_is_none(inside: Home, said: Said, tries: Tries) -> None:  # noqa: F811
    path, picture = inside.folder / "network.npz", ROOT / "tests/digits/font_4.png"
    others = (b"", b"x", FILE[:-30], FILE[: len(FILE) // 2], packed("theta.npy", b"\x93NUMPY"))
    for content in tries([*others, *BOMBS.values()]):
        path.write_bytes(content)
        code, text = said("predict", str(picture), "--run", str(path))
        assert code == 1 and is_one_line(text) and text.startswith(f"--run {path}: ")


@pytest.mark.parametrize("kind", FORMATS)
def test_pictures(kind: str, tmp_path: Path, tries: Tries) -> None:
    path, refused = tmp_path / f"digit.{kind.lower()}", 0
    with Image.open(ROOT / "tests/digits/strokes_4.png") as picture:
        picture.convert("RGB").resize((60, 60)).save(path, kind)
    for content in tries(damaged(path.read_bytes(), TRIES // 2)):
        path.write_bytes(content)
        line = refusal(lambda: read(path))
        assert not line or str(path) in line
        refused += bool(line)
    assert refused


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (3000, 2), (2, 2)])
def test_pictures_of_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    for shade in (0, 128):
        Image.new("L", size, shade).save(path)
        assert str(path) in refusal(lambda: read(path))
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    Image.fromarray(noise).save(path)
    refusal(lambda: read(path))
