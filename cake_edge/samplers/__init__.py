"""Samplers: one method a file, one interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cake_edge.errors import UsageMistake, near_names
from cake_edge.samplers.base import Sampler, SamplerConfig
from cake_edge.samplers.cake import CakeConfig
from cake_edge.samplers.cake_paper import CakePaperConfig
from cake_edge.samplers.cmi import CmiConfig
from cake_edge.samplers.data_impressions import DataImpressionsConfig
from cake_edge.samplers.deep_inversion import DeepInversionConfig
from cake_edge.samplers.forward_only import ForwardOnlyConfig
from cake_edge.samplers.gdfq import GdfqConfig
from cake_edge.samplers.lake import LakeConfig
from cake_edge.settings import settings_from_dict

__all__ = [
    "SAMPLERS",
    "CakeConfig",
    "CakePaperConfig",
    "CmiConfig",
    "DataImpressionsConfig",
    "DeepInversionConfig",
    "ForwardOnlyConfig",
    "GdfqConfig",
    "LakeConfig",
    "Sampler",
    "SamplerConfig",
    "sampler_settings",
]

SAMPLERS: dict[str, type[SamplerConfig]] = {
    CakeConfig.name: CakeConfig,
    CakePaperConfig.name: CakePaperConfig,
    CmiConfig.name: CmiConfig,
    DataImpressionsConfig.name: DataImpressionsConfig,
    DeepInversionConfig.name: DeepInversionConfig,
    ForwardOnlyConfig.name: ForwardOnlyConfig,
    GdfqConfig.name: GdfqConfig,
    LakeConfig.name: LakeConfig,
}


def sampler_settings(name: str, values: Mapping[str, Any], where: str = "sampler") -> SamplerConfig:
    """Returns the configuration of sampler `name` with `values` over its defaults.

    Raises:
        UsageMistake: no such sampler, an unknown setting, or a value of the wrong type.
    """
    if name not in SAMPLERS:
        raise UsageMistake(
            f"{where.rstrip(': ')}: there is no sampler {name!r}{near_names(name, SAMPLERS)}; "
            f"allowed: {', '.join(sorted(SAMPLERS))}"
        )
    return settings_from_dict(SAMPLERS[name], values, where)
