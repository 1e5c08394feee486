import torch
from torch import nn

from benchmarks.paper.statistics import restated


def test_statistics_are_the_mean_of_the_batches_and_the_original_stays_as_it_was():
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    batches = [torch.randn(16, 2, 2, 2) * (1 + k) + 3 * k for k in range(3)]
    anew = restated(network, iter(batches))
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(anew[0].running_mean, means)
    torch.testing.assert_close(network[0].running_mean, torch.zeros(2))
    assert not anew.training
    torch.testing.assert_close(anew[2].weight, network[2].weight)
