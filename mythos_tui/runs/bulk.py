"""A long history at once: blocks of metrics.jsonl parsed by Arrow, outside the interpreter, into columns."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mythos_tui.runs.columns import WIDEST, Columns

WORKERS = min(4, os.cpu_count() or 1)
AHEAD = WORKERS + 1
"""Blocks that are parsed, or wait to be, while an earlier one goes into the columns."""
_pool = ThreadPoolExecutor(WORKERS, "bulk")


def parse_soon(block: bytes) -> Future[Columns | None]:
    """`parse_columns` by a thread."""
    return _pool.submit(parse_columns, block)


def parse_columns(block: bytes) -> Columns | None:
    """Whole lines as {key: (n,) or (n, width)}, parts as `loss_parts.ponder`; None where they are not that regular.

    Whoever gets None parses line by line, which also copes with damage, values that change kind, and resumed steps.
    """
    import pyarrow as pa
    import pyarrow.json as arrow_json

    options = arrow_json.ReadOptions(block_size=len(block) + 1, use_threads=False)
    try:
        table = arrow_json.read_json(pa.BufferReader(block), read_options=options).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    columns: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        for key, array in _flat(name, table.column(name).chunk(0), pa):
            if pa.types.is_list(array.type) and _misread(array):
                return None
            values = _values(array, pa)
            if values is not None:
                columns[key] = values
    return columns


def _flat(key: str, array: Any, pa: Any) -> list[tuple[str, Any]]:
    if not pa.types.is_struct(array.type):
        return [(key, array)]
    names = [array.type.field(index).name for index in range(array.type.num_fields)]
    return [(f"{key}.{name}", part) for name, part in zip(names, array.flatten(), strict=True)]


def _misread(array: Any) -> bool:
    """Whether there is a null within a list: Arrow's reader puts it behind the numbers, or loses it."""
    ends = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
    return bool(array.values.null_count or ends[-1] != len(array.values))


def _values(array: Any, pa: Any) -> NDArray[Any] | None:
    """Numbers as (n,), lists of them as (n, longest), null and what is not there as NaN; None for anything else."""
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _floats(array, pa)
    if not pa.types.is_list(kind) or not (
        pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)
    ):
        return None
    offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
    lengths = np.diff(offsets)
    width = min(WIDEST, int(lengths.max(initial=0)))
    if not width:
        return None
    values = _floats(array.values, pa)
    if (lengths == width).all():
        return values[offsets[0] : offsets[-1]].reshape(-1, width).astype(np.float32)
    rows = np.full((len(array), width), np.nan, np.float32)
    there = np.arange(width) < lengths[:, None]
    rows[there] = values[(offsets[:-1, None] + np.arange(width))[there]]
    return rows


def _floats(array: Any, pa: Any) -> NDArray[np.float64]:
    """An array of numbers, null as NaN, from its buffers: `to_numpy` and `cast` would first import for long."""
    kind = np.int64 if pa.types.is_integer(array.type) else np.float64
    values = np.frombuffer(array.buffers()[1], kind, len(array), array.offset * 8).astype(np.float64)
    if array.null_count:
        values[array.is_null().to_pylist()] = np.nan
    return values
