"""What can go wrong in a training run: the playbook that the trainer's guard, `mythos doctor` and the documents share.

Numbers to judge by are `LIMITS`, each with a sentence; kinds of trouble are `PLAYBOOK`: symptom, likely cause, what to
change. A kind that the guard raises has a policy of the same name in the configuration's section `alerts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Level = Literal["note", "warning", "error"]
Action = Literal["note", "skip", "pause", "stop"]
"""note: tell, and go on. skip: leave out such updates, and go on. pause, stop: as the commands do."""
SKIPPABLE = ("nan", "loss_spike", "gradient_spike")
"""Kinds that a step shows before its update is made."""


class Limit(NamedTuple):
    """A number that judges, and what it means."""

    value: float
    says: str


LIMITS: dict[str, Limit] = {
    "spike_sigmas": Limit(6.0, "A value spikes this many robust standard deviations above the median before it."),
    "spike_window": Limit(50, "Earlier values of the same kind of step that tell the spread."),
    "spike_least": Limit(16, "Values that must be known before a new one is judged; the last so many tell the median."),
    "loss_floor": Limit(0.02, "Relative deviation of the loss below which no spread is believed."),
    "gradient_floor": Limit(0.45, "Relative deviation of the gradient's norm below which no spread is believed."),
    "settle_steps": Limit(100, "Steps after the warm-up before experts and halting are judged: balance needs time."),
    "load_share": Limit(0.75, "An expert collapses others when it takes this share of the most that it could take."),
    "load_times": Limit(4.5, "Nor may an expert take this many times its even share, however many experts there are."),
    "dead_load": Limit(0.01, "An expert is dead below this share of its even share."),
    "dead_share": Limit(0.1, "Share of the experts that may be dead."),
    "dead_choices": Limit(50, "Choices per expert in a record below which none is called dead."),
    "router_entropy": Limit(0.05, "Least entropy of the router, as a share of log E."),
    "same_depth": Limit(0.005, "Share of a step's tokens that may differ in depth before depths are called different."),
    "state_growth": Limit(1.05, "Factor by which the last loop may still raise the state's norm."),
    "state_ratio": Limit(4.0, "Factor by which all loops together may raise the state's norm."),
    "rho_share": Limit(0.98, "Share of a_max above which ρ(A) counts as having reached it."),
    "overfit_rises": Limit(3, "Evaluations in a row whose held-out loss rises while the training loss falls."),
    "overfit_rise": Limit(0.005, "Relative rise over these evaluations below which it is noise."),
    "slow_share": Limit(0.6, "Share of the run's own earlier FLOP/s below which it has become slow."),
    "slow_every": Limit(4.0, "Seconds between two records that are taken for the speed; those between are noise."),
    "slow_window": Limit(8, "Such records whose median is held against the one before them."),
    "slow_past": Limit(200, "Earlier records that count as the run's own past."),
    "slow_least": Limit(16, "Earlier records that must be known before the speed is judged."),
    "patience": Limit(5, "Records in a row that a slow trouble (experts, halting, state, ρ(A), speed) must last."),
    "patience_steps": Limit(40, "Steps that it must last besides, however often metrics are logged."),
    "calm": Limit(10, "Records in a row without trouble that end an episode; only then is the next one told."),
    "row_norm": Limit(20.0, "A row of the embedding whose norm is this many times the median stands out."),
    "expert_norm": Limit(10.0, "An expert whose weights are this many times smaller than the median learns nothing."),
    "bias_share": Limit(3.0, "A router bias this many times the router's usual logit decides whatever the token is."),
    "halt_weight": Limit(0.01, "Norm of the halting head's weights below which every token gets the same answer."),
}


@dataclass(frozen=True)
class Trouble:
    """One page of the playbook."""

    level: Level
    symptom: str
    cause: str
    advice: str


@dataclass(frozen=True)
class Alert:
    """A trouble that began: `kind` is a key of the playbook, `evidence` holds the numbers, `action` the policy."""

    kind: str
    level: Level
    step: int
    evidence: str
    advice: str
    action: Action

    @property
    def message(self) -> str:
        """Symptom and evidence in one sentence, as events tell it."""
        return f"{PLAYBOOK[self.kind].symptom}: {self.evidence}."


PLAYBOOK: dict[str, Trouble] = {
    "nan": Trouble(
        "error",
        "Loss or gradient is not finite",
        "A learning rate that is too high, an overflow in bf16, or weights that were damaged before.",
        "Resume from the last checkpoint with half of train.lr and train.muon_lr, more train.warmup_steps, "
        "train.grad_clip at most 1, or train.precision=fp32.",
    ),
    "loss_spike": Trouble(
        "warning",
        "The loss jumped",
        "An odd batch, or a learning rate at the edge of stability.",
        "One that comes down again needs nothing. If they repeat: lower train.lr and train.muon_lr, or lengthen "
        "train.warmup_steps; if always at the same text, look at it.",
    ),
    "gradient_spike": Trouble(
        "note",
        "The gradient jumped",
        "An odd batch, or the first sign of divergence when the loss follows.",
        "train.grad_clip takes care of single ones. If they repeat: lower train.lr, or train.grad_clip to 0.5.",
    ),
    "stall": Trouble(
        "warning",
        "The worker has been silent longer than it promised",
        "A disk or device that hangs, a machine that swaps or sleeps, or a step far slower than those before.",
        "See the end of output.log and the machine's memory. `mythos kill` ends it; `mythos train --resume` goes on.",
    ),
    "failed": Trouble(
        "error",
        "The run ended before its time",
        "What the worker said last; killed without a word, it was most often the system, out of memory.",
        "Mend the cause, then go on with `mythos train --resume`.",
    ),
    "out_of_memory": Trouble(
        "error",
        "Out of memory",
        "Activations of a step grow with train.batch_size × train.sequence × loops, logits with the vocabulary.",
        "Use a smaller train.batch_size or train.sequence.",
    ),
    "too_large": Trouble(
        "warning",
        "The training may not fit into memory",
        "By estimate the tensors of one step, at the deepest loop count, are more than there is. A system at the end of its "
        "memory kills without a word.",
        "Use a smaller train.batch_size or train.sequence.",
    ),
    "expert_collapse": Trouble(
        "warning",
        "Few experts do most of the work",
        "Router bias or auxiliary loss too weak for the router's learning rate, or a router that was never balanced.",
        "Raise objective.router_bias_rate, or add objective.balance_loss=0.01; a sharp router is softened by a larger "
        "objective.router_z_loss.",
    ),
    "halting_collapse": Trouble(
        "warning",
        "Every token takes the same number of loops",
        "A ponder cost that is too high (all stop at once) or too low (none stops early), or a halting head that has "
        "learnt nothing; jointly trained halting tends to it.",
        "Change objective.ponder_cost by a factor of 3, lengthen objective.ponder_anneal_steps, or train with "
        "objective.kind=depth_supervised and stop by confidence or gate at inference.",
    ),
    "state_growth": Trouble(
        "warning",
        "The state grows from loop to loop",
        "The block feeds on its own output: no injection, no norm after the sublayers, or too large learning rates.",
        "Use model.injection=lti, model.norm=sandwich or a lower train.muon_lr; do not run more loops than in training.",
    ),
    "rho_a": Trouble(
        "note",
        "ρ(A) has come to its bound",
        "Some channels want to keep their state longer than model.a_max lets them.",
        "Harmless as such. A higher model.a_max lets them, and makes the state settle over more loops.",
    ),
    "overfitting": Trouble(
        "warning",
        "Held-out loss rises while training loss falls",
        "The model has seen its text too often.",
        "Stop here and keep the checkpoint `best`; or more text, fewer train.steps, more train.weight_decay, a smaller "
        "model.",
    ),
    "low_throughput": Trouble(
        "note",
        "Training has become slow against its own past",
        "Other programs on the same cores, a machine that swaps, throttles or lost its frequency.",
        "Look at what else runs; set train.threads to the cores that are free.",
    ),
    "bad_weights": Trouble(
        "error",
        "Weights are damaged or not finite",
        "A disk or a copy failed, or the run diverged before this checkpoint was saved.",
        "Go back to an earlier checkpoint; delete this one.",
    ),
    "router_bias": Trouble(
        "warning",
        "The router's bias decides more than the token",
        "Experts that no token wants are forced upon them: objective.router_bias_rate is high for this router.",
        "Lower objective.router_bias_rate, or give the router more to go by with a larger train.lr.",
    ),
    "expert_norms": Trouble(
        "warning",
        "Experts have hardly any weights",
        "No token came their way, so weight decay alone acted on them.",
        "Raise objective.router_bias_rate, or use fewer experts (model.n_experts).",
    ),
    "embedding_norms": Trouble(
        "note",
        "Tokens with odd embeddings",
        "Tokens that the text hardly has are never learnt, or, at high learning rates, run away.",
        "A smaller model.vocab_size, a tokenizer of this text, or a lower train.lr.",
    ),
    "unsaved": Trouble(
        "warning",
        "The worker told of trouble",
        "Most often a disk that is full or refuses.",
        "Make room, then ask for a checkpoint with `mythos save`.",
    ),
}


def limit(name: str) -> float:
    """The number of a limit."""
    return LIMITS[name].value


def as_event(alert: Alert) -> dict[str, Any]:
    """What an event of kind `alert` tells of it: its step too, since others may have been taken before it was told."""
    facts = {
        "step": alert.step,
        "alert": alert.kind,
        "level": alert.level,
        "evidence": alert.evidence,
        "action": alert.action,
    }
    return {"message": alert.message, "hint": alert.advice, **facts}
