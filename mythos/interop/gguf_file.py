"""The contents of a GGUF file: settings, vocabulary and tensors as llama.cpp wants them.

The architecture is `llama`, whose rotary embedding turns neighbouring channels (0,1), (2,3), … where ours turns the two
halves of a head: rows of queries and keys change places. Norms are float32, matrices what was asked for.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mythos.contract.config import DenseConfig
from mythos.contract.errors import CheckpointError
from mythos.interop.gguf_vocabulary import Vocabulary
from mythos.interop.llama import Names, split_tensors
from mythos.interop.openmythos_layout import pairs

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

DTYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
"""Numbers of matrices, and what GGUF calls a file of them."""
BLOCK = 32
"""Neighbours in a row that share one scale in q8_0."""
NAMES: Names = {
    "embedding.weight": ("token_embd.weight",),
    "layers.*.attention_norm.weight": ("blk.*.attn_norm.weight",),
    "layers.*.attention.qkv.weight": ("blk.*.attn_q.weight", "blk.*.attn_k.weight", "blk.*.attn_v.weight"),
    "layers.*.attention.out.weight": ("blk.*.attn_output.weight",),
    "layers.*.ffn_norm.weight": ("blk.*.ffn_norm.weight",),
    "layers.*.ffn.up.weight": ("blk.*.ffn_gate.weight", "blk.*.ffn_up.weight"),
    "layers.*.ffn.out.weight": ("blk.*.ffn_down.weight",),
    "norm.weight": ("output_norm.weight",),
    "head.weight": ("output.weight",),
}
"""Where there is no output.weight, llama.cpp reads out through the embedding."""


def llama_tensors(state: dict[str, Tensor], config: DenseConfig) -> dict[str, Tensor]:
    """Tensors of a dense model [rows out, columns in] with the names and the order of rows of llama.cpp."""
    found = split_tensors(state, config, NAMES)
    for number in range(config.n_layers):
        for part, heads in (("q", config.n_heads), ("k", config.n_kv_heads)):
            name = f"blk.{number}.attn_{part}.weight"
            found[name] = pairs(found[name], heads)
    return found


def choose_kinds(tensors: dict[str, Tensor], dtype: str) -> dict[str, GGMLQuantizationType]:
    """The numbers that each tensor is stored in. Rows that q8_0 cannot cut into blocks are f16."""
    from gguf import GGMLQuantizationType as Kind

    def choose(tensor: Tensor) -> Kind:
        if tensor.dim() == 1:
            return Kind.F32
        return Kind.F16 if dtype == "q8_0" and tensor.shape[-1] % BLOCK else Kind[dtype.upper()]

    return {name: choose(tensor) for name, tensor in tensors.items()}


def write_file(
    path: Path,
    name: str,
    config: DenseConfig,
    vocabulary: Vocabulary,
    tensors: dict[str, Tensor],
    kinds: dict[str, GGMLQuantizationType],
    dtype: str,
) -> None:
    """A whole GGUF file at `path`. Raises OSError, and CheckpointError for weights that have no number of that kind."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_file_type(gguf.LlamaFileType[DTYPES[dtype]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_settings(writer, config)
    _add_vocabulary(writer, vocabulary)
    try:
        _write(writer, tensors, kinds)
    finally:
        writer.close()


def _add_settings(writer: GGUFWriter, config: DenseConfig) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.ffn_width)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    """A special token opens every prompt, as in training, and none closes it. Unused ids are never drawn."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.words)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_token_scores(vocabulary.scores)
    writer.add_add_space_prefix(vocabulary.space_first)
    writer.add_bos_token_id(vocabulary.start)
    writer.add_eos_token_id(vocabulary.end)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_array("tokenizer.ggml.suppress_tokens", vocabulary.unused)


def _write(writer: GGUFWriter, tensors: dict[str, Tensor], kinds: dict[str, GGMLQuantizationType]) -> None:
    """Tensors are converted one by one as they are written."""
    from gguf.quants import quant_shape_to_byte_shape, quantize

    for name, tensor in tensors.items():
        size = math.prod(quant_shape_to_byte_shape(tensor.shape, kinds[name]))
        writer.add_tensor_info(name, tensor.shape, np.dtype(np.float32), size, kinds[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, tensor in tensors.items():
        _check_range(name, tensor, kinds[name].name)
        writer.write_tensor_data(quantize(tensor.contiguous().numpy(), kinds[name]))


def _check_range(name: str, tensor: Tensor, kind: str) -> None:
    largest = float(np.finfo(np.float16 if kind == "F16" else np.float32).max)
    if not float(tensor.abs().max()) <= largest:  # nor if it is NaN
        raise CheckpointError(
            f"{name} holds numbers that {kind.lower()} has none for.",
            "Try --dtype bf16 or f32. If those fail too, the training diverged: name an earlier checkpoint.",
        )
