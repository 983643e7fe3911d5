"""Connection tables: for each map, the maps of the layer before that it sees."""

from collections.abc import Iterable, Sequence

# LeCun et al. 1998, Table 1: for each map of C3, the maps of S2 that it sees.
TABLE_1 = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)
# LeCun et al. 1990: for each map of LeNet-1's H3, the maps of H2 that it sees.
LENET1_TABLE = ((0,), (0, 1), (0, 1), (1,), (0, 1), (0, 1), (2,), (2, 3), (2, 3), (3,), (2, 3), (2, 3))
# Karpathy 2022, for LeCun et al. 1989: each third of H2's maps leaves out another third of H1's.
LECUN1989_TABLE = tuple(tuple(seen for seen in range(12) if seen // 4 != (2 + h2 // 4) % 3) for h2 in range(12))
CONNECTIONS = {"table1": TABLE_1, "full": None}


def _around(starts: Iterable[int], steps: Sequence[int], maps: int) -> tuple[tuple[int, ...], ...]:
    """For each start, the maps that many steps after it, counted in a ring."""
    return tuple(tuple((start + step) % maps for step in steps) for start in starts)


# Ours, so that LeNet-4 has its printed totals: 60 kernels, as in Table 1; four or five of the 16 maps for each unit.
LENET4_C3 = _around(range(8), range(4), 8) + _around(range(4), (0, 1, 4, 5), 8) + _around(range(4), (0, 3, 6), 8)
LENET4_C5 = _around(range(80), range(5), 16) + _around(range(80, 120), range(4), 16)
