"""The operators that a program may call: those of classifiers, pure, and nothing else.

A name that is not here is refused, however harmless it looks. Left out on purpose are operators
that read or write files (`from_file`, `save`), that draw random numbers, that look at memory beyond
a tensor (`as_strided`, `set_`, `resize_`), and those whose result hangs on values (`item`,
`nonzero`): a network with such a step has no bound on what it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from cake_edge.errors import TeacherError

__all__ = ["FACTORIES", "OPERATORS", "at_inference", "is_in_place", "operator", "takes_tensor_only"]

OPERATORS = frozenset(
    """
    abs absolute acos adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d add addbmm addcdiv addcmul addmm
    addmv affine_grid_generator alias all alpha_dropout amax amin aminmax __and__ any arange
    argmax argmin argsort asin atan atan2 atleast_1d atleast_2d avg_pool1d avg_pool2d avg_pool3d
    baddbmm batch_norm bitwise_and bitwise_not bitwise_or bitwise_xor bmm broadcast_tensors
    broadcast_to bucketize cat ceil celu channel_shuffle chunk clamp clamp_max clamp_min clip
    clone col2im column_stack concat concatenate constant_pad_nd contiguous conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d _convolution convolution copy cos cosh
    cosine_similarity count_nonzero cross cumprod cumsum deg2rad detach diag diag_embed diagonal
    diff div divide dot dropout dstack einsum elu embedding eq erf erfc exp exp2 expand
    expand_as expand_copy expm1 eye feature_dropout fill fix flatten flip fliplr flipud floor
    floor_divide fmax fmin fmod frac full full_like gather ge gelu glu greater greater_equal
    grid_sampler grid_sampler_2d group_norm gt hardshrink hardsigmoid hardswish hardtanh hstack
    im2col index index_copy index_fill index_put index_select instance_norm inverse isfinite
    isinf isnan kthvalue layer_norm le leaky_relu lerp less less_equal lift lift_fresh
    lift_fresh_copy linalg_norm linalg_vector_norm linear linspace log log10 log1p log2
    log_sigmoid log_softmax _log_softmax logaddexp logical_and logical_not logical_or
    logical_xor logit logsumexp lstm lt masked_fill matmul max max_pool1d max_pool2d
    max_pool2d_with_indices max_pool3d maximum mean median meshgrid min minimum mish mm mode
    moveaxis movedim mul multiply mv nan_to_num narrow native_batch_norm
    _native_batch_norm_legit _native_batch_norm_legit_functional
    _native_batch_norm_legit_no_training native_dropout native_group_norm native_layer_norm ne
    neg negative new_full new_ones new_zeros norm not_equal numpy_T ones ones_like __or__ outer
    pad _pad_circular _pad_enum permute permute_copy pixel_shuffle pixel_unshuffle positive pow
    prelu _prelu_kernel prod rad2deg ravel reciprocal reflection_pad1d reflection_pad2d relu
    relu6 remainder renorm repeat repeat_interleave replication_pad1d replication_pad2d reshape
    reshape_as resolve_conj resolve_neg rms_norm roll rot90 round rsqrt rsub _safe_softmax
    scalar_tensor scaled_dot_product_attention scatter scatter_add select select_copy
    select_scatter selu sgn sigmoid sign silu sin sinh size slice slice_copy slice_scatter
    softmax _softmax softplus softshrink sort special_erf special_expit split split_copy
    split_with_sizes split_with_sizes_copy sqrt square squeeze squeeze_copy stack std std_mean
    sub subtract sum swapaxes swapdims sym_numel sym_size sym_stride t t_copy take
    take_along_dim tan tanh tensor_split threshold tile to _to_copy topk transpose
    transpose_copy tril triu true_divide trunc type_as unbind unbind_copy unflatten unfold
    _unsafe_index _unsafe_view unsqueeze unsqueeze_copy upsample_bicubic2d
    _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    upsample_trilinear3d var var_mean view view_as view_copy vsplit vstack where xlogy __xor__
    zeros zeros_like
    """.split()  # noqa: SIM905 -- a table of names, kept readable
)
"""Names in torch.ops.aten; with a `_` behind, each stands for its form that writes in place."""

IN_PLACE_ONLY = ("zero_",)
"""Operators that write in place and have no other form."""

FACTORIES = frozenset({"arange", "eye", "full", "linspace", "ones", "scalar_tensor", "zeros"})
"""Operators that make a tensor of numbers alone, and have to be told on which device."""

TRAINING_FLAG = {
    "batch_norm": 5,
    "native_batch_norm": 5,
    "_native_batch_norm_legit": 5,
    "_native_batch_norm_legit_functional": 5,
    "dropout": 2,
    "feature_dropout": 2,
    "alpha_dropout": 2,
    "native_dropout": 2,
    "lstm": 6,
}
"""Where an operator is told that it is in training."""

FLAG_NAMES = ("training", "train")


def is_in_place(name: str) -> bool:
    """Whether an allowed operator of this name writes into its first argument."""
    return name.endswith("_") and not name.endswith("__")


def is_allowed(name: str) -> bool:
    """Whether a program may call an operator of this name."""
    return name in OPERATORS or name in IN_PLACE_ONLY or name.removesuffix("_") in OPERATORS


@lru_cache(maxsize=4096)
def operator(name: str, overload: str | None = None) -> Callable[..., Any]:
    """Returns an operator of torch.ops.aten; without an overload, one that is chosen by arguments.

    Raises:
        TeacherError: a program may not call it, or this torch does not have it.
    """
    if not is_allowed(name):
        raise TeacherError(
            f"the program calls the operator {name[:60]!r}, which is not among the "
            f"{len(OPERATORS)} that classifiers use and that are safe to run from a file; export "
            "the network without it, or as ONNX"
        )
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        raise TeacherError(
            f"the program calls the operator {name}, which torch {torch.__version__} does not "
            "have; save it again with this version"
        )
    if overload is None:
        return packet  # type: ignore[no-any-return]
    if not re.fullmatch(r"\w+", overload) or overload not in packet.overloads():
        raise TeacherError(
            f"the program calls {name}.{overload[:60]}, and {name} has no such form in torch "
            f"{torch.__version__}; save it again with this version"
        )
    chosen = getattr(packet, overload)
    writes = [a.name for a in chosen._schema.arguments if a.is_write]
    running = {"running_mean", "running_var"}  # left as they are by `at_inference`
    if writes and not is_in_place(name) and not running.issuperset(writes):
        raise TeacherError(
            f"the program calls {name}.{overload}, which writes into its argument {writes[0]}; "
            "save it again with the form that returns a new tensor"
        )
    return chosen  # type: ignore[no-any-return]


@lru_cache(maxsize=4096)
def takes_tensor_only(name: str, place: int) -> bool:
    """Whether argument `place` is a tensor, and no number, in every form of an operator."""
    packet = getattr(torch.ops.aten, name)
    kinds = set()
    for overload in packet.overloads():
        arguments = getattr(packet, overload)._schema.arguments
        if place < len(arguments) and not arguments[place].kwarg_only:
            kinds.add(str(arguments[place].type))
    return bool(kinds) and kinds <= {"Tensor", "Optional[Tensor]"}


def at_inference(
    name: str, args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any], bool]:
    """Returns the arguments with which an operator does what it does outside of training.

    Batch normalisation takes its running statistics, dropout passes its input on. The last value
    says whether that changed anything. Where there are no running statistics the flag stays: so do
    networks normalise their weights.
    """
    if name == "scaled_dot_product_attention":
        drops = bool(args[4] if len(args) > 4 else kwargs.get("dropout_p"))
        args = [*args[:4], 0.0, *args[5:]] if len(args) > 4 else args
        return args, {k: v for k, v in kwargs.items() if k != "dropout_p"}, drops
    place = TRAINING_FLAG.get(name.removesuffix("_"))
    if place is None:
        return args, kwargs, False
    statistics = args[3:5] if len(args) > 4 else [kwargs.get("running_mean")]
    if "norm" in name and not all(isinstance(s, torch.Tensor) for s in statistics):
        return args, kwargs, False
    flagged = [flag for flag in FLAG_NAMES if flag in kwargs]
    was = bool(args[place]) if len(args) > place else any(kwargs[flag] for flag in flagged)
    args = [False if i == place else a for i, a in enumerate(args)]
    return args, {k: False if k in FLAG_NAMES else v for k, v in kwargs.items()}, was
