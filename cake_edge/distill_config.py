"""How a student is trained: the settings, and the presets they start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cake_edge.errors import UsageMistake
from cake_edge.precision import Precision
from cake_edge.settings import check_choices
from cake_edge.views import ViewConfig

__all__ = ["DISTILL_PRESETS", "DistillConfig"]

LONGEST = 20
"""Half of the checks: with more no run would ever settle before its last quarter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """How the student is trained; the defaults are function matching with a long cosine."""

    steps: int = 4000
    """Optimiser steps."""
    batch: int = 256
    """Views a step."""
    loss: Literal["kl", "soft-cross-entropy"] = "kl"
    """T^2 KL at `temperature`, or cross-entropy with the teacher's probabilities."""
    temperature: float = 2.0
    """Of the KL; 1 compares the answers as they are."""
    optimiser: Literal["muon", "adamw", "sgd"] = "muon"
    """timm's Muon (AdamW for what is no matrix), AdamW, or SGD with momentum 0.9, cycled where the
    schedule says so."""
    schedule: Literal["cosine", "one-cycle", "until-settled"] = "cosine"
    """Warm-up over a fiftieth of the steps and half a cosine; torch's OneCycleLR; or level until
    agreement on held-out synthetic images no longer rises, then down: `steps` at most."""
    patience: int = 4
    """Fortieths of the steps without a rise after which until-settled lets the rate fall."""
    learning_rate: float = 1e-2
    """The highest rate."""
    weight_decay: float = 1e-2
    """Decoupled for muon and adamw."""
    clip: float = 5.0
    """Largest norm of the whole gradient; 0 for none."""
    average: float = 0.995
    """Decay of the moving average of weights that is the result; 0 takes the last weights."""
    augment: bool = True
    """Change the views at every step and ask the teacher anew; off: the pool's own logits."""
    motion: float = 0.4
    """How far augmentation turns, moves and scales; 0 for flips alone."""
    mixed: float = 0.5
    """Share of views that are blended with another."""
    match: bool = True
    """Draw images that were not pushed so that together they have the statistics that the teacher's
    batch norms remember, where there are any; it takes the place of `balance` then."""
    balance: bool = True
    """Draw the classes that the teacher sees evenly; off: every image once before any again."""
    precision: Precision = "float32"
    """bfloat16 computes both networks in mixed precision; the weights stay float32."""
    compile: bool = False
    """Compile the student with torch.compile: slow to start; on a CPU it wants a C++ compiler."""
    inherit: bool = True
    """Start from a selection of the teacher's weights where both are of one family."""

    def __post_init__(self) -> None:
        for field in ("steps", "batch", "temperature", "learning_rate"):
            if not getattr(self, field) > 0:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be positive")
        for field in ("average", "mixed"):
            if not 0 <= getattr(self, field) <= 1:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must lie in [0, 1]")
        for field in ("motion", "weight_decay", "clip"):
            if getattr(self, field) < 0:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be 0 or more")
        check_choices(self)
        if not 1 <= self.patience <= LONGEST:
            raise UsageMistake(f"patience is {self.patience}; it must be 1 to {LONGEST}")
        if self.batch < 2:
            raise UsageMistake("batch is 1; batch normalisation needs at least 2")
        if self.mixed and not self.augment:
            raise UsageMistake(
                "mixed needs augment: blended views must be shown to the teacher; "
                "set mixed to 0, or augment to true"
            )

    def views(self) -> ViewConfig:
        """Returns the part that says how views are made."""
        return ViewConfig(
            batch=self.batch,
            augment=self.augment,
            motion=self.motion,
            mixed=self.mixed,
            balance=self.balance,
            precision=self.precision,
        )


DISTILL_PRESETS: dict[str, DistillConfig] = {
    "cake": DistillConfig(),
    # As released with cake-paper: 30 epochs, the last weights. Two things differ: the authors keep
    # one image in a hundred apart for a validation that decides nothing, and train under bfloat16.
    "cake-paper": DistillConfig(
        steps=30000,
        loss="soft-cross-entropy",
        optimiser="sgd",
        schedule="one-cycle",
        learning_rate=0.1,
        weight_decay=5e-4,
        clip=0.0,
        average=0.0,
        augment=False,
        mixed=0.0,
        match=False,
        balance=False,
        inherit=False,
    ),
}
