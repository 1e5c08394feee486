"""The project's own forms of CAKE's terms, whose weights mean the same at every size, in loops."""

from __future__ import annotations

from reference.cake import squared_distance


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
    """Of one tuple [G][K]: for every i the mean over j with y_j != y_i of ||z_i - z_j||^2 / K.

    0 for an image without a partner of another class.
    """
    found = []
    for i in range(len(logits)):
        partners = [j for j in range(len(logits)) if labels[j] != labels[i]]
        forces = [squared_distance(logits[i], logits[j]) / len(logits[i]) for j in partners]
        found.append(sum(forces) / len(forces) if forces else 0.0)
    return found
