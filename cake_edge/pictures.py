"""Contact sheets of synthetic images, for people to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from cake_edge.pool import Pool
from cake_edge.provenance import atomic_path

__all__ = ["write_sheets"]

COLUMNS, ROWS = 12, 4
WIDEST = 960  # pixels


def write_sheets(pool: Pool, folder: Path) -> list[dict[str, str]]:
    """Writes one sheet of prior images and one of pushed images, as far as the pool has them.

    Returns:
        `title` and `file` (a path below the run folder, `folder` being its `images`) of each.
    """
    groups = {
        ("prior", "Straight from the prior, chosen for balanced classes"): [],
        ("pushed", "Pushed through the teacher towards its decision boundaries"): [],
    }  # type: dict[tuple[str, str], list[torch.Tensor]]
    prior, pushed = groups.values()
    for shard in pool.shards():
        prior += shard.images[shard.steps == 0][: COLUMNS * ROWS]
        pushed += shard.images[shard.steps > 0][: COLUMNS * ROWS]
        if min(len(prior), len(pushed)) >= COLUMNS * ROWS:
            break
    written = []
    for (name, title), images in groups.items():
        if images:
            chosen = torch.stack(images[: COLUMNS * ROWS]).numpy()
            pixels = (pool.spec.denormalise(chosen) * 255).round().clip(0, 255).astype(np.uint8)
            if pool.spec.colour == "bgr":
                pixels = pixels[:, ::-1]
            with atomic_path(folder / f"{name}.png") as temporary:
                _sheet(pixels).save(temporary, format="PNG")
            written.append({"title": title, "file": f"{folder.name}/{name}.png"})
    return written


def _sheet(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """Lays [N, C, H, W] bytes out in rows with a gap between them."""
    count, channels, height, width = pixels.shape
    columns, gap = min(COLUMNS, count), 2
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap), columns * (width + gap), 3), 128, np.uint8)
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        shown = image.transpose(1, 2, 0)
        # One channel is grey; of more than three, the first three are shown.
        shown = np.repeat(shown[..., :1], 3, axis=2) if channels < 3 else shown[..., :3]
        canvas[top : top + height, left : left + width] = shown
    sheet = Image.fromarray(canvas)
    scale = WIDEST / sheet.width
    if scale >= 2:
        size = (sheet.width * int(scale), sheet.height * int(scale))
        return sheet.resize(size, Image.Resampling.NEAREST)
    if scale < 1:
        return sheet.resize((WIDEST, round(sheet.height * scale)), Image.Resampling.BILINEAR)
    return sheet
