"""Published methods of synthesis beside CAKE, literally: loops over images, channels and classes.

DeepInversion: Yin et al., arXiv 1912.08795. Data Impressions: Nayak et al., arXiv 1905.08114. CMI:
Fang et al., arXiv 2105.08584. Langevin: the poster form of arXiv 2306.02090.
"""

from __future__ import annotations

import math

from reference.cake import softmax, squared_distance


def moments(values):
    """Mean and biased variance."""
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values) / len(values)


def norm(values):
    """Euclidean."""
    return math.sqrt(sum(v * v for v in values))


def statistics_distance(layers):
    """Mean over layers of the two norms of eq. 4, each divided by the layer's own.

    `layers` has for each a list of channels: (values, remembered mean or None, its variance).
    """
    total = 0.0
    for channels in layers:
        means, variances = [], []
        for values, mean, variance in channels:
            own, spread = moments(values)
            variances.append(spread - variance)
            if mean is not None:
                means.append(own - mean)
        remembered = [variance for _, _, variance in channels]
        total += norm(variances) / norm(remembered)
        if means:
            total += norm(means) / norm([math.sqrt(variance) for variance in remembered])
    return total / len(layers)


def divergence(p, q):
    """KL(p || q) in nats."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def jensen_shannon(p, q):
    """(KL(p || m) + KL(q || m)) / 2, m the mean of the two."""
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return (divergence(p, middle) + divergence(q, middle)) / 2


def agreement(teacher, student):
    """1 - JS of the softmax of two logit vectors (eq. 8)."""
    return 1 - jensen_shannon(softmax(teacher), softmax(student))


def label_agreement(teacher, student):
    """The mean over labels of 1 - JS of each label's yes and no."""
    found = []
    for one, other in zip(teacher, student, strict=True):
        p, q = 1 / (1 + math.exp(-one)), 1 / (1 + math.exp(-other))
        found.append(1 - jensen_shannon([p, 1 - p], [q, 1 - q]))
    return sum(found) / len(found)


def soft_cross_entropy(logits, wanted, temperature):
    """-sum_k y_k log softmax(z / T)_k of one image."""
    answer = softmax(logits, temperature)
    return -sum(y * math.log(p) for y, p in zip(wanted, answer, strict=True))


def concentrations(weights, smallest):
    """Cosines of weight vectors, every row scaled to [0, 1], and no lower than `smallest`."""
    found = []
    for one in weights:
        row = [
            sum(a * b for a, b in zip(one, other, strict=True)) / norm(one) / norm(other)
            for other in weights
        ]
        low, high = min(row), max(row)
        found.append([max(smallest, (value - low) / (high - low)) for value in row])
    return found


def spread_over_bins(labels, confidence, keep, bins, lowest):
    """Which images stay, taken one at a time: class by class, and of a class bin by bin.

    The class that has given least so far gives next, of it the bin that has given least, of that
    the earliest image. Of equals, whatever comes first; so only counts are comparable.
    """
    width = (1 - lowest) / bins
    cells = [
        (label, min(bins - 1, int((value - lowest) / width)))
        for label, value in zip(labels, confidence, strict=True)
    ]
    left, taken = list(range(len(labels))), []
    while len(taken) < keep:
        given = [cells[i] for i in taken]

        def order(i, given=tuple(given)):
            by_class = sum(1 for label, _ in given if label == cells[i][0])
            return by_class, given.count(cells[i]), i

        chosen = min(left, key=order)
        taken.append(chosen)
        left.remove(chosen)
    return sorted(taken)


def pair_energy(logits, labels):
    """The contrast of the poster of one tuple, by image: half of every pair's squared distance."""
    return [
        sum(
            squared_distance(logits[i], logits[j]) / 2
            for j in range(len(logits))
            if labels[i] != labels[j]
        )
        for i in range(len(logits))
    ]


def instance_discrimination(views, others, negatives, temperature):
    """Of every image: -log of its own other view's share among that view, the batch and the bank.

    All similarities are cosines over a temperature; `views` and `others` are the two embeddings of
    the same images, `negatives` those of the bank.
    """

    def cosine(one, other):
        return sum(a * b for a, b in zip(one, other, strict=True)) / norm(one) / norm(other)

    found = []
    for i, anchor in enumerate(views):
        own = math.exp(cosine(anchor, others[i]) / temperature)
        rest = [other for j, other in enumerate(others) if j != i]
        rest += [view for j, view in enumerate(views) if j != i]
        rest += negatives
        found.append(
            -math.log(own / (own + sum(math.exp(cosine(anchor, r) / temperature) for r in rest)))
        )
    return found
