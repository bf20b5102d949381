"""`mythos machine`: what training has to work with here."""

from __future__ import annotations

from mythos.cli.options import Json, print_json, quantity
from mythos.contract.words import counted


def machine(as_json: Json = False) -> None:
    """The matmul peak of this machine in the arithmetic that training would take, measured in a second or two, and its memory."""
    from mythos.contract.config import TrainConfig
    from mythos.train.device import choose_device

    found = choose_device(TrainConfig())
    facts = {"device": found.name, "precision": found.precision, "threads": found.threads}
    if as_json:
        print_json({**facts, "peak_flops": found.peak_flops, "memory_bytes": found.memory_bytes})
        return
    memory = f", {quantity(found.memory_bytes, 'B')} of memory" if found.memory_bytes else ""
    peak = quantity(found.peak_flops, "FLOP/s")
    print(f"{found.name}, {found.precision}, {counted(found.threads, 'thread')}: {peak} matmul peak{memory}")
