"""What both kinds of comparison are given."""

import pytest
from parity.compare import Array
from parity.recorded import recorded


@pytest.fixture(scope="session")
def answers() -> dict[str, Array]:
    """PyTorch's recorded answers."""
    return recorded()
