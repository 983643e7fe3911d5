"""What the benchmark times in PyTorch is what it times in cnnlab."""

from typing import Any

import numpy as np
import pytest
from parity.compare import MAPS, WEIGHTS, Draw, to_torch

from cases import NETWORKS, Case
from cnnlab.nn import Sequential
from ours import NETWORKS as OURS
from ours import SHAPE, work

pytestmark = pytest.mark.parity
BATCH = 3


@pytest.fixture(scope="module")
def peer():
    import peer

    return peer


def give(torch: Any, network: Sequential, params: dict[str, Any], twin: Any) -> None:
    """Copy our weights into PyTorch's layers; a dense layer after maps reads them in another order."""
    shapes = dict(zip(network.layers, network.shapes(SHAPE), strict=False))
    ours = {name: arrays for name, arrays in params.items() if arrays}
    theirs = [module for module in twin if list(module.parameters())]
    for (name, arrays), module in zip(ours.items(), theirs, strict=True):
        W = arrays["W"]
        if W.ndim == 2:
            W = W.reshape(len(W), *(shapes[name] if len(shapes[name]) == 3 else (-1, 1, 1)))
        turned = np.ascontiguousarray(W.transpose(WEIGHTS[4])).reshape(module.weight.shape)
        with torch.no_grad():
            module.weight.copy_(torch.tensor(turned))
            if "b" in arrays:
                module.bias.copy_(torch.tensor(arrays["b"]))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_and_its_twin_give_the_same_outputs(name, peer):
    network, twin, draw = OURS[name](background=0.0), peer.TWINS[name]().eval(), Draw(np.float32)
    params, x = draw.parameters(network, SHAPE), draw.normal(*SHAPE, BATCH)
    give(peer.torch, network, params, twin)
    theirs = twin(to_torch(peer.torch, x, MAPS)).detach().numpy().T
    np.testing.assert_allclose(network.forward(params, x)[0], theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_both_sides_step_with_as_many_parameters(name, peer, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    case = Case("step", name, BATCH)
    sides = [work(case), peer.eager(case)]
    assert sides[0].parameters == sides[1].parameters > 0
    assert [side.run() for side in sides] == [None, None]
