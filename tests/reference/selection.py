"""Choosing M of N images so that the classes the teacher sees are as even as can be."""

from __future__ import annotations

from collections import Counter


def balanced(classes, keep):
    """Indices, ascending, of the `keep` images chosen from the list `classes`.

    One image at a time from a class that has given least so far and has images left (of equals, the
    class whose next image comes first), and of a class its earliest image left. The histogram of
    what is kept is then the flattest there is: no class gives two more than another that could
    still give.
    """
    if keep > len(classes):
        raise ValueError(f"cannot keep {keep} of {len(classes)}")
    left = {k: [i for i, c in enumerate(classes) if c == k] for k in set(classes)}
    taken = []
    given = Counter()
    while len(taken) < keep:
        open_classes = [k for k in left if left[k]]
        chosen = min(open_classes, key=lambda k: (given[k], left[k][0]))
        taken.append(left[chosen].pop(0))
        given[chosen] += 1
    return sorted(taken)


def flatness(classes, kept):
    """Counts of the kept images over all classes present, sorted."""
    counts = Counter(classes[i] for i in kept)
    return sorted(counts[k] for k in set(classes))
