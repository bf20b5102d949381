"""`mythos machine`: what training has to work with here."""

from __future__ import annotations

from mythos.cli.options import Json, print_json, quantity


def machine(as_json: Json = False) -> None:
    """Measure the matmul peak of this machine, in the arithmetic that training would take. A second or two."""
    from mythos.contract.config import TrainConfig
    from mythos.train.device import choose_device

    found = choose_device(TrainConfig())
    facts = {"device": found.name, "precision": found.precision, "threads": found.threads}
    if as_json:
        print_json({**facts, "peak_flops": found.peak_flops})
        return
    print(
        f"{found.name}, {found.precision}, {found.threads} threads: {quantity(found.peak_flops, 'FLOP/s')} matmul peak"
    )
