"""What a student minimises, one image and one class at a time."""

from __future__ import annotations

import math

from reference.cake import softmax


def soft_cross_entropy(student, teacher):
    """The released CAKE student: mean over the batch of -sum_k p_teacher log p_student, T = 1."""
    total = 0.0
    for given, wanted in zip(student, teacher, strict=True):
        answers, targets = softmax(given), softmax(wanted)
        total -= sum(p * math.log(q) for p, q in zip(targets, answers, strict=True))
    return total / len(student)


def temperature_kl(student, teacher, temperature):
    """T^2 KL(teacher || student) at temperature T, summed over classes, mean over the batch.

    Hinton, Vinyals, Dean, arXiv 1503.02531, section 2.
    """
    total = 0.0
    for given, wanted in zip(student, teacher, strict=True):
        answers, targets = softmax(given, temperature), softmax(wanted, temperature)
        total += sum(p * math.log(p / q) for p, q in zip(targets, answers, strict=True))
    return temperature**2 * total / len(student)


def sigmoid(value):
    """The probability of a yes."""
    return 1 / (1 + math.exp(-value))


def binary_temperature_kl(student, teacher, temperature):
    """T^2 KL of each label's yes and no, summed over labels, mean over the batch."""
    total = 0.0
    for given, wanted in zip(student, teacher, strict=True):
        for z, w in zip(given, wanted, strict=True):
            q, p = sigmoid(z / temperature), sigmoid(w / temperature)
            total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    return temperature**2 * total / len(student)


def binary_soft_cross_entropy(student, teacher):
    """-p log q - (1 - p) log(1 - q), summed over labels, mean over the batch."""
    total = 0.0
    for given, wanted in zip(student, teacher, strict=True):
        for z, w in zip(given, wanted, strict=True):
            q, p = sigmoid(z), sigmoid(w)
            total -= p * math.log(q) + (1 - p) * math.log(1 - q)
    return total / len(student)


def mixup(images, order, share):
    """share_i x_i + (1 - share_i) x_order(i), pixel by pixel, for flat images [N][D].

    Zhang, Cisse, Dauphin, Lopez-Paz, arXiv 1710.09412, eq. 1. Labels are not mixed: in function
    matching (Beyer et al., arXiv 2106.05237) the teacher answers on the mixed image itself.
    """
    return [
        [
            share[i] * one + (1 - share[i]) * other
            for one, other in zip(images[i], images[order[i]], strict=True)
        ]
        for i in range(len(images))
    ]
