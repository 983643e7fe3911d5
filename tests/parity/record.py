"""Writes recorded.npz, PyTorch's answers to every case: `python tests/parity/record.py` (needs PyTorch)."""

import sys
from pathlib import Path

import numpy as np


def main() -> None:
    """Everything anew, so that nothing is left over from cases that are gone."""
    import torch
    from parity.recorded import FILE, answers

    kept = answers(torch)
    np.savez_compressed(FILE, **kept)
    print(f"{FILE.name}: {len(kept) - 1} answers of PyTorch {kept['torch']}, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # where the tests import each other from
    main()
