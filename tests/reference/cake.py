"""CAKE (Braun, Mundt, Kersting, arXiv 2306.02090), literally: loops over images and classes.

Where the paper's formula and the code its authors released (github.com/ml-research/CAKE) differ in
reduction, the released form is meant and the docstring says so. Arrays: `logits` [T][G][K] for T
tuples of G images and K classes, `images` [N][C][H][W], `labels` like the logits without K.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np


def softmax(logits, temperature=1.0):
    """exp(z_k / T) / sum_l exp(z_l / T) of one logit vector."""
    top = max(logits)
    powers = [math.exp((value - top) / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits, label):
    """-log softmax(z)_y of one logit vector."""
    return -math.log(softmax(logits)[label])


def classification(logits, labels):
    """L_cls of section 3, as released: G times the mean cross-entropy over the batch."""
    group = len(logits[0])
    terms = [
        cross_entropy(logits[t][g], labels[t][g]) for t in range(len(logits)) for g in range(group)
    ]
    return group * sum(terms) / len(terms)


def squared_distance(one, other):
    """||z_i - z_j||^2."""
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def contrast(logits):
    """L_contr as released ("mse"): 0.5 G^2 times the mean of (z_bi - z_bj)^2 over b, i, j and k."""
    tuples, group, classes = len(logits), len(logits[0]), len(logits[0][0])
    total = 0.0
    for b in range(tuples):
        for i in range(group):
            for j in range(group):
                for k in range(classes):
                    total += (logits[b][i][k] - logits[b][j][k]) ** 2
    return 0.5 * group**2 * total / (tuples * group * group * classes)


def contrast_by_pairs(logits):
    """The same as a sum of forces: (1/K) mean over b of sum over i < j of ||z_bi - z_bj||^2."""
    sums = [
        sum(squared_distance(one, other) for one, other in combinations(members, 2))
        for members in logits
    ]
    return sum(sums) / len(sums) / len(logits[0][0])


def contrast_of_paper(logits, labels):
    """L_contr of the paper, one value a tuple: sum over i < j of [y_i != y_j] ||z_i - z_j||^2."""
    return [
        sum(squared_distance(z[i], z[j]) for i, j in combinations(range(len(z)), 2) if y[i] != y[j])
        for z, y in zip(logits, labels, strict=True)
    ]


def soft_nearest_neighbour(logits, labels, temperature=1.0):
    """The "snn" alternative (Frosst, Papernot, Hinton, arXiv 1902.01889), over [B][K].

    Mean over the images that have another of their class of -log(near mass of that class / near
    mass of all), where the mass of a pair is exp(-||z_i - z_j||^2 / T).
    """
    terms = []
    for i in range(len(logits)):
        same = everyone = 0.0
        for j in range(len(logits)):
            if j != i:
                mass = math.exp(-squared_distance(logits[i], logits[j]) / temperature)
                everyone += mass
                same += mass if labels[i] == labels[j] else 0.0
        if any(labels[j] == labels[i] for j in range(len(logits)) if j != i):
            terms.append(-math.log(same / everyone))
    return sum(terms) / len(terms)


def total_variation(images):
    """L_TV as released: the mean vertical step plus the mean horizontal step, over everything.

    The paper sums |x_{j,k} - x_{j-1,k}| + |x_{j,k} - x_{j,k-1}| over j and k of one image.
    """
    down, across = [], []
    for image in images:
        for channel in image:
            height, width = len(channel), len(channel[0])
            for j in range(height):
                for k in range(width):
                    if j > 0:
                        down.append(abs(channel[j][k] - channel[j - 1][k]))
                    if k > 0:
                        across.append(abs(channel[j][k] - channel[j][k - 1]))
    return sum(down) / len(down) + sum(across) / len(across)


def diversity(logits):
    """L_ent as released: mean over k of p_k log10 p_k, p the mean softmax over the batch [B][K]."""
    answers = [softmax(row) for row in logits]
    classes = len(logits[0])
    mean = [sum(answer[k] for answer in answers) / len(answers) for k in range(classes)]
    return sum(p * math.log10(p) for p in mean) / classes


def step_size_linear(batch, batches, first, decades):
    """eta_m = 10^(log10(eta_0) - (m / M) decay), constant within the mini-batch m of M."""
    return 10 ** (math.log10(first) - (batch / batches) * decades)


def step_size_cosine(batch, batches, first, decades):
    """eta_m = 10^(e_end + decay / 2 (1 + cos(pi m / M))), e_end = log10(eta_0) - decay."""
    end = math.log10(first) - decades
    return 10 ** (end + decades / 2 * (1 + math.cos(math.pi * batch / batches)))


def are_tuple_labels(labels, group, classes):
    """What drawing labels must hold: every tuple names `group` distinct classes of 0 to K - 1."""
    return all(
        len(row) == group
        and len({int(y) for y in row}) == group
        and all(0 <= int(y) < classes for y in row)
        for row in labels
    )


def cake_step(images, gradient, step_size):
    """One step of CAKE: x - eta grad, plain gradient descent without momentum or clipping."""
    return np.asarray(images) - step_size * np.asarray(gradient)


def lake_step(images, gradient, step_size, noise):
    """One step of LAKE (Langevin): the step of CAKE, then + sqrt(2 eta) times unit noise."""
    return cake_step(images, gradient, step_size) + math.sqrt(2 * step_size) * np.asarray(noise)
