"""A state is taken up whole, by its own plan alone."""

from __future__ import annotations

import torch
from torch import nn

from cake_edge.qat.state import read_state, restore, write_state


def parts(seed: int) -> dict[str, object]:
    network = nn.Linear(3, 2)
    network.weight.data.normal_(generator=torch.Generator().manual_seed(seed))
    adam = torch.optim.Adam(network.parameters(), lr=0.1)
    sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for optimiser in (adam, sgd):
        network(torch.ones(1, 3)).sum().backward()
        optimiser.step()
    return {"network": network, "adam": adam, "sgd": sgd}


def test_networks_and_optimisers_come_back(tmp_path):
    path, old, new = tmp_path / "state", parts(0), parts(1)
    write_state(path, "plan", {"step": 3}, old)
    about, tensors = read_state(path, "plan")
    assert about == {"step": 3}
    restore(tensors, new)
    assert torch.equal(new["network"].weight, old["network"].weight)
    for name in ("adam", "sgd"):
        mine, theirs = (p[name].state_dict()["state"] for p in (new, old))
        assert mine.keys() == theirs.keys()
        for index in theirs:
            assert all(torch.equal(mine[index][slot], v) for slot, v in theirs[index].items())


def test_no_state_is_read_of_another_plan_or_of_a_damaged_file(tmp_path):
    path = tmp_path / "state"
    assert read_state(path, "plan") is None
    write_state(path, "plan", {"step": 3}, parts(0))
    assert read_state(path, "other") is None
    path.write_bytes(path.read_bytes()[:40])
    assert read_state(path, "plan") is None
