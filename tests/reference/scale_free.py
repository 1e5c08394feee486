"""The project's own forms of CAKE's terms, whose weights mean the same at every size, in loops."""

from __future__ import annotations


def total_variation(image):
    """Scan-line variation of one image [C][H][W].

    Mean over channels of: all vertical steps divided by the width, plus all horizontal steps
    divided by the height. Repeating every pixel r times in both directions leaves it as it is: r
    times as many columns hold the same steps, and repeated pixels add none.
    """
    total = 0.0
    for channel in image:
        height, width = len(channel), len(channel[0])
        for j in range(1, height):
            for k in range(width):
                total += abs(channel[j][k] - channel[j - 1][k]) / width
        for j in range(height):
            for k in range(1, width):
                total += abs(channel[j][k] - channel[j][k - 1]) / height
    return total / len(image)


def pair_contrast(logits, labels):
    """Of one tuple [G][K]: the squared distance in the two logits of the pair's boundary.

    For every i the mean over the j with y_j != y_i of
    ((z_i - z_j)[y_i]^2 + (z_i - z_j)[y_j]^2) / 2; 0 for an image without such a partner.
    """
    found = []
    for i in range(len(logits)):
        forces = []
        for j in range(len(logits)):
            if labels[j] != labels[i]:
                own, other = labels[i], labels[j]
                one = (logits[i][own] - logits[j][own]) ** 2
                two = (logits[i][other] - logits[j][other]) ** 2
                forces.append((one + two) / 2)
        found.append(sum(forces) / len(forces) if forces else 0.0)
    return found
