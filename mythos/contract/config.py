"""Every setting of a model, its data and its training, with a description, a unit and a bound each.

The Configure form, `mythos train --help` and the error messages are generated from these models, so a field is
described once. Sizes use the letters of the model files: D width, H query heads, K key/value heads, E experts,
k experts per token, L loops, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mythos.contract.errors import ConfigError


def setting(default: Any, description: str, unit: str = "", **bounds: Any) -> Any:
    """A field: what it means, the unit of its value ("" for choices and texts) and its bounds (ge, gt, le, lt)."""
    return Field(default, description=description, json_schema_extra={"unit": unit}, **bounds)


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors and values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _lone_texts(cls, values: Any) -> Any:
        """Where a list is meant, one text is a list of one, `data.paths=notes.txt`, and an empty one a list of none."""
        if not isinstance(values, dict):
            return values
        lists = {name for name, field in cls.model_fields.items() if get_origin(field.annotation) is tuple}
        return {
            name: [value][: len(value)] if name in lists and isinstance(value, str) else value
            for name, value in values.items()
        }


class _Transformer(Section):
    """What both families share: embedding, attention, dense feed-forward blocks, head."""

    vocab_size: int = setting(
        4096,
        "Size of the vocabulary that the tokenizer is trained to, then at least 257.",
        "tokens",
        ge=2,
        le=1_000_000,
    )
    width: int = setting(256, "Width D of the residual stream.", "channels", ge=8, le=65_536)
    context: int = setting(256, "Longest sequence the model is meant for.", "tokens", ge=8, le=2_097_152)
    n_heads: int = setting(4, "Query heads H. Must divide the width.", "heads", ge=1, le=512)
    n_kv_heads: int = setting(
        2, "Key/value heads K of GQA; equal to H is MHA, 1 is MQA. Must divide H.", "heads", ge=1, le=512
    )
    ffn_width: int = setting(704, "Hidden width of the dense feed-forward blocks.", "channels", ge=8, le=262_144)
    activation: Literal["swiglu", "gelu"] = setting("swiglu", "Feed-forward nonlinearity; gelu has no gate.")
    attention: Literal["gqa", "mla"] = setting(
        "gqa", "Grouped-query attention, or multi-head latent attention (DeepSeek-V2)."
    )
    mla_kv_rank: int = setting(64, "MLA: width of the cached latent of keys and values.", "channels", ge=4, le=16_384)
    mla_q_rank: int = setting(
        0, "MLA: width of the query latent; 0 projects queries directly.", "channels", ge=0, le=16_384
    )
    mla_rope_dim: int = setting(
        16, "MLA: width of the rotary part of a head; its key is shared by all heads. Even.", "channels", ge=2, le=1024
    )
    mla_nope_dim: int = setting(32, "MLA: width of the part of a head without position.", "channels", ge=1, le=1024)
    mla_v_dim: int = setting(32, "MLA: width of a head's value.", "channels", ge=1, le=1024)
    norm: Literal["pre", "sandwich"] = setting("pre", "RMSNorm before each sublayer, or before and after it.")
    norm_eps: float = setting(1e-5, "Added to the mean square inside RMSNorm.", "", gt=0, le=1e-2)
    rope_theta: float = setting(10_000.0, "Base of the rotary frequencies.", "", ge=10, le=1e9)
    tie_embeddings: bool = setting(True, "Use the embedding matrix as the output head.")
    init_std: float = setting(0.02, "Standard deviation of the initial weights.", "", gt=0, le=1)

    @property
    def head_dim(self) -> int:
        """Width of one GQA head: D / H."""
        return self.width // self.n_heads

    @model_validator(mode="after")
    def _heads_fit(self) -> _Transformer:
        if self.attention == "gqa":
            if self.width % self.n_heads:
                raise ValueError(f"n_heads {self.n_heads} does not divide width {self.width}; choose a divisor")
            if self.head_dim % 2:
                raise ValueError(f"width / n_heads = {self.head_dim} is odd; rotary embedding needs an even head width")
            if self.n_heads % self.n_kv_heads:
                raise ValueError(
                    f"n_kv_heads {self.n_kv_heads} does not divide n_heads {self.n_heads}; choose a divisor"
                )
        elif self.mla_rope_dim % 2:
            raise ValueError(f"mla_rope_dim {self.mla_rope_dim} is odd; rotary embedding needs an even width")
        return self


class DenseConfig(_Transformer):
    """The dense Mythos series: a Llama-like stack of pre-norm blocks."""

    family: Literal["dense"] = setting("dense", "Model family.")
    n_layers: int = setting(6, "Transformer blocks.", "blocks", ge=1, le=1024)


class RecurrentConfig(_Transformer):
    """OpenMythos: Prelude → one block looped with injection → Coda."""

    family: Literal["recurrent"] = setting("recurrent", "Model family.")
    prelude_layers: int = setting(1, "Dense blocks before the loop, run once.", "blocks", ge=0, le=256)
    coda_layers: int = setting(1, "Dense blocks after the loop, run once.", "blocks", ge=0, le=256)
    attention_window: int = setting(
        0,
        "Tokens that attention sees, the asking one among them; 0 is all. A window makes far things take loops to arrive.",
        "tokens",
        ge=0,
        le=1_048_576,
    )
    loops: int = setting(4, "Loops the model is trained around and runs by default.", "loops", ge=1, le=1024)
    max_loops: int = setting(
        8, "Rows of the per-loop adapters and the most loops that training draws.", "loops", ge=1, le=1024
    )
    n_experts: int = setting(
        8, "Routed experts E of the looped block; 0 makes it a dense feed-forward block.", "experts", ge=0, le=4096
    )
    experts_per_token: int = setting(2, "Routed experts k that each token uses.", "experts", ge=1, le=256)
    expert_width: int = setting(192, "Hidden width of one routed expert.", "channels", ge=1, le=262_144)
    n_shared_experts: int = setting(1, "Experts that every token uses.", "experts", ge=0, le=64)
    shared_expert_width: int = setting(
        0, "Hidden width of one shared expert; 0 is that of a routed one.", "channels", ge=0, le=262_144
    )
    router: Literal["learned", "frozen"] = setting("learned", "Train the router, or keep its initial weights.")
    injection: Literal["lti", "none"] = setting(
        "lti", "State update h ← A·h + B·e + block(norm(h + e)), or h ← block(norm(h + e))."
    )
    a_max: float = setting(
        0.5,
        "Upper bound of A, the share of the state that a loop keeps; near 1 the state still moves after many loops.",
        "",
        gt=0.1,
        lt=0.9961,
    )
    loop_index_embedding: bool = setting(
        False, "Add a sinusoidal code of the loop's number to the state that enters the block."
    )
    loop_index_theta: float = setting(10_000.0, "Base of the loop index's frequencies.", "", ge=10, le=1e9)
    loop_lora_rank: int = setting(
        0, "Rank of the per-loop adapter on the block's output; 0 is off.", "channels", ge=0, le=4096
    )
    halting: Literal["none", "act", "gate"] = setting(
        "none", "Learned halting per token: ACT (Graves 2016), or a gate that says whether one more loop is worth it."
    )
    gate_width: int = setting(
        0,
        "gate: hidden width of a gate that sees a state before and after a loop; 0 is one dot product with the latter.",
        "channels",
        ge=0,
        le=4096,
    )
    act_threshold: float = setting(
        0.99, "ACT: cumulative halting probability at which a token halts.", "probability", gt=0, le=1
    )
    act_remainder: bool = setting(
        True,
        "ACT: a token that never halted gives what is left of its weight to the last loop; published models lost it.",
    )
    state_read_out: Literal["auto", "last", "mean"] = setting(
        "auto", "What the Coda reads: the last state (ACT: the weighted mean), always the last one, or the plain mean."
    )
    halted_tokens: Literal["freeze", "run"] = setting(
        "freeze",
        "A halted token keeps state, keys and values and is not computed; or runs on with weight 0 as published models did.",
    )
    initial_state: Literal["prelude", "zero", "random"] = setting(
        "prelude", "State before the first loop: Prelude's output, zeros or noise."
    )

    @property
    def shared_width(self) -> int:
        """Hidden width of all shared experts together."""
        return self.n_shared_experts * (self.shared_expert_width or self.expert_width)

    @model_validator(mode="after")
    def _loops_and_experts_fit(self) -> RecurrentConfig:
        if self.n_experts and self.experts_per_token > self.n_experts:
            raise ValueError(f"experts_per_token {self.experts_per_token} exceeds n_experts {self.n_experts}")
        if self.loops > self.max_loops:
            raise ValueError(f"loops {self.loops} exceeds max_loops {self.max_loops}")
        return self


ModelConfig = Annotated[DenseConfig | RecurrentConfig, Field(discriminator="family")]


class SourceConfig(Section):
    """One source of text and what is asked of its documents."""

    source: Literal["stdlib", "files", "hf", "synthetic"] = setting(
        "stdlib",
        "The Python standard library's own source code, files of yours, a dataset of the Hugging Face hub, or made-up tasks.",
    )
    paths: tuple[str, ...] = setting(
        (),
        "files: text, Markdown, source code, JSON, JSON Lines, CSV or Parquet, also .gz or .zst, or folders of them.",
    )
    text_key: str = setting(
        "text", "files, hf: key or column of the text in JSON, JSON Lines, CSV, Parquet and datasets."
    )
    include_tests: bool = setting(False, "stdlib: also its test suites (about 30 MB instead of 12).")
    dataset: str = setting(
        "", "hf: name on the hub, or the short name of a preset (wikipedia, fineweb-edu, github-code)."
    )
    subset: str = setting("", "hf: configuration of the dataset; empty is the preset's, or the only one.")
    dataset_split: str = setting("train", "hf: split of the dataset.")
    task: str = setting("", "synthetic: names of tasks with commas between, mixed; empty is all of them.")
    task_seed: int = setting(0, "synthetic: seed of the examples.", "", ge=0, le=2**31 - 1)
    task_skew: float = setting(
        0.0, "synthetic: examples of difficulty d are made with weight d^−skew; 0 is all alike.", "", ge=0, le=10
    )
    task_ends: bool = setting(
        False, "synthetic: ask the last question of a line with = in place of ?; its answer ends the line."
    )
    max_documents: int = setting(
        0,
        "hf, synthetic: documents to take; 0 is all of a dataset, and 10,000 made-up ones.",
        "documents",
        ge=0,
        le=10**12,
    )
    quality: Literal["none", "auto", "prose", "code"] = setting(
        "none", "Rules that drop poor documents: those for prose, those for code, or by what each document is."
    )
    weight: float = setting(
        1.0, "How often a training document of this source appears; 0.5 is every other one.", "times", gt=0, le=100
    )

    @model_validator(mode="after")
    def _source_is_named(self) -> SourceConfig:
        if self.source == "files" and not self.paths:
            raise ValueError("source 'files' needs paths: name at least one file or folder")
        if self.source == "hf" and not self.dataset:
            raise ValueError("source 'hf' needs dataset: a name on the hub, as in HuggingFaceFW/fineweb-edu")
        return self


class DataConfig(SourceConfig):
    """Where the text comes from, how it is cleaned, and how it is cut into training and held-out documents."""

    mixture: tuple[SourceConfig, ...] = setting(
        (), "Several sources, each with settings of its own, instead of the one above; written in YAML."
    )
    answers_only: bool = setting(
        False,
        "Ask only for what follows = in a line, and for the character after ?, which is not shown. Tokens must be bytes.",
    )
    repair: bool = setting(False, "Mend wrongly decoded characters (ftfy).")
    languages: tuple[str, ...] = setting((), "Keep prose in these languages only (py3langid), as en, de; empty is all.")
    dedup: Literal["none", "exact", "minhash"] = setting(
        "none", "Drop documents that are the same, or nearly (MinHash over 5-word shingles, 14 bands of 8, as FineWeb)."
    )
    tokenizer: str = setting(
        "",
        "A tokenizer.json, a checkpoint, or a name on the hub, to be used instead of training one; empty trains one.",
    )
    held_out_percent: float = setting(
        5.0, "Share of documents kept out of training, chosen by a hash of their identity.", "%", gt=0, le=50
    )
    shard_tokens: int = setting(16_777_216, "Tokens per shard file.", "tokens", ge=1024, le=1_073_741_824)
    workers: int = setting(0, "Processes that prepare the text; 0 is one per core.", "processes", ge=0, le=1024)
    cache_dir: str = setting("", "Folder for prepared corpora; empty is $MYTHOS_CACHE or ~/.cache/mythos.")

    @model_validator(mode="after")
    def _one_place_for_sources(self) -> DataConfig:
        for name, field in SourceConfig.model_fields.items():
            if self.mixture and getattr(self, name) != field.default:
                raise ValueError(f"{name} has no effect beside a mixture; give it to one of the sources in the mixture")
        return self

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """The mixture, or the one source."""
        return self.mixture or (SourceConfig(**{name: getattr(self, name) for name in SourceConfig.model_fields}),)


class TrainConfig(Section):
    """Length, optimizer and bookkeeping of a run."""

    steps: int = setting(2000, "Optimizer steps.", "steps", ge=1, le=100_000_000)
    max_tokens: int = setting(
        0,
        "Most tokens to train on; 0 is no limit. The run ends at the first limit it meets.",
        "tokens",
        ge=0,
        le=10**16,
    )
    max_minutes: float = setting(
        0.0, "Most minutes of training, pauses left out; 0 is no limit.", "minutes", ge=0, le=10_000_000
    )
    batch_size: int = setting(16, "Sequences per step.", "sequences", ge=1, le=65_536)
    accumulate: int = setting(
        1, "Parts that each process cuts its share of a step into; less memory, more time.", "parts", ge=1, le=65_536
    )
    sequence: int = setting(256, "Tokens per sequence; at most the model's context.", "tokens", ge=4, le=2_097_152)
    document_mask: bool = setting(
        False, "Let no token attend to another document of its sequence; slower, as attention then needs a mask."
    )
    optimizer: Literal["muon", "adamw"] = setting(
        "muon", "Muon on the hidden matrices and AdamW on the rest, or AdamW alone."
    )
    lr: float = setting(3e-3, "Peak learning rate of AdamW.", "", gt=0, le=1)
    muon_lr: float = setting(0.02, "Peak learning rate of Muon.", "", gt=0, le=1)
    weight_decay: float = setting(0.1, "Decoupled weight decay of matrices.", "", ge=0, le=1)
    warmup_steps: int = setting(100, "Steps of linear warm-up.", "steps", ge=0, le=1_000_000)
    schedule: Literal["cosine", "wsd", "linear", "constant"] = setting(
        "cosine",
        "Learning rate after the warm-up: down a cosine or a line, late (wsd: warm-up, stable, decay), or not.",
    )
    decay_share: float = setting(
        0.2, "wsd: share of the steps after the warm-up in which the learning rate decays.", "", gt=0, le=1
    )
    min_lr_ratio: float = setting(
        0.1, "Learning rate at the end of the schedule, as a share of its peak.", "", ge=0, le=1
    )
    grad_clip: float = setting(1.0, "Largest norm of the gradient; 0 is no limit.", "", ge=0, le=1000)
    seed: int = setting(1337, "Seed of weights, order of data and loop counts.", "", ge=0, le=2**31 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "Where to train; auto is CUDA if there is one.")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = setting(
        "auto", "Arithmetic of matmuls; auto is bf16 where it is measured faster, on CUDA bf16 or else fp16."
    )
    parallel: Literal["none", "ddp", "fsdp"] = setting(
        "none", "Several processes: each holds the whole model (ddp), or a part of every weight (fsdp, AdamW only)."
    )
    threads: int = setting(0, "CPU threads; 0 is as many as are measured fastest.", "threads", ge=0, le=1024)
    checkpoint_loops: bool = setting(
        False, "Keep no activations inside a loop and compute them again in the backward pass: less memory, more time."
    )
    compile: bool = setting(
        False, "Compile the blocks with torch.compile: faster steps after a delay of up to minutes at the start."
    )
    init_from: str = setting(
        "", "Checkpoint or run whose weights this run starts from, of the same model and text; empty is fresh weights."
    )
    log_every: int = setting(10, "Steps between metrics.", "steps", ge=1, le=1_000_000)
    eval_every: int = setting(
        250, "Steps between evaluations on held-out documents; 0 is only at the end.", "steps", ge=0, le=10_000_000
    )
    eval_tokens: int = setting(
        65_536, "Held-out tokens per evaluation during training.", "tokens", ge=64, le=1_000_000_000
    )
    checkpoint_every: int = setting(
        250, "Steps between checkpoints; 0 is only at the end.", "steps", ge=0, le=10_000_000
    )
    keep_checkpoints: int = setting(
        3, "Newest checkpoints to keep; the best and the latest are always kept.", "checkpoints", ge=1, le=10_000
    )
    keep_every: int = setting(
        0, "Keep for good every checkpoint at a multiple of this step; 0 is none.", "steps", ge=0, le=10_000_000
    )
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = setting(
        (), "Where metrics go besides the run directory: tensorboard, wandb, trackio."
    )

    @property
    def length(self) -> int:
        """Steps of the run: `steps`, or fewer where `max_tokens` allows no more; at least one."""
        allowed = self.max_tokens // (self.batch_size * self.sequence) if self.max_tokens else self.steps
        return max(1, min(self.steps, allowed))

    @model_validator(mode="after")
    def _parts_are_equal_and_shards_fit(self) -> TrainConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide into accumulate {self.accumulate} equal parts"
            )
        if self.parallel == "fsdp" and self.optimizer == "muon":
            raise ValueError(
                "parallel 'fsdp' splits the matrices that Muon needs whole; take optimizer 'adamw', or 'ddp'"
            )
        return self


class ObjectiveConfig(Section):
    """What a recurrent model is trained for; a dense one uses plain cross-entropy."""

    kind: Literal["depth_supervised", "act", "entropy_gate"] = setting(
        "depth_supervised",
        "Cross-entropy at a few sampled depths, on the ACT read-out plus ponder cost, or expected under a gate.",
    )
    loop_sampling: Literal["poisson", "uniform", "fixed"] = setting(
        "poisson", "How the loop count of a step is drawn around model.loops."
    )
    supervised_depths: int = setting(
        2, "Depths that are read out per step, the last one included.", "depths", ge=1, le=64
    )
    backprop_loops: int = setting(0, "Last loops that carry gradient; 0 is all of them.", "loops", ge=0, le=1024)
    curriculum_steps: int = setting(
        0, "Steps over which the mean loop count rises from 1 to model.loops; 0 is off.", "steps", ge=0, le=10_000_000
    )
    warmup_loops: int = setting(
        0, "Most loops without gradient that run before the drawn ones; 0 is off.", "loops", ge=0, le=1024
    )
    warmup_loops_from: float = setting(
        0.5, "Share of the run after which warm-up loops are ramped in, up to its end.", "", ge=0, le=1
    )
    mixed_exits: float = setting(
        0.0, "depth_supervised: share of the steps in which every token stops at a depth of its own.", "", ge=0, le=1
    )
    mixed_exits_spare: bool = setting(
        False,
        "mixed exits, with data.answers_only: tokens that are asked for something run all loops, only others stop.",
    )
    ponder_cost: float = setting(0.01, "act: weight of the ponder cost.", "nats/loop", ge=0, le=10)
    ponder_anneal_steps: int = setting(
        500, "act: steps over which the ponder cost rises from 0.", "steps", ge=0, le=10_000_000
    )
    gate_entropy: float = setting(
        0.05, "entropy_gate: weight of the entropy of the exit distribution.", "", ge=0, le=10
    )
    gate_share: float = setting(
        0.06,
        "halting gate: share of the steps, at the run's end, in which the gate alone learns when to stop.",
        "",
        ge=0,
        lt=1,
    )
    gate_epsilon: float = setting(
        0.05, "halting gate: loss that stopping now may cost, judged by the deepest read-out.", "nats", gt=0, le=10
    )
    balance_loss: float = setting(0.0, "Weight of the auxiliary load-balance loss.", "", ge=0, le=1)
    router_z_loss: float = setting(1e-4, "Weight of the router's z-loss.", "", ge=0, le=1)
    router_bias_rate: float = setting(
        1e-2, "Step of the router bias that evens out expert load, in router logits; 0 is off.", "", ge=0, le=1
    )


class InferConfig(Section):
    """Defaults of generation, carried along in every checkpoint."""

    exit: str = setting(
        "auto",
        "Exit rule: auto, act, fixed, gate:P, confidence:P, kl:EPS or state_delta:EPS. auto is act for ACT models, else fixed.",
    )
    loops: int = setting(0, "Most loops per token; 0 is model.loops.", "loops", ge=0, le=1024)
    calibrated: tuple[str, ...] = setting(
        (), "Exit rules at the thresholds that mythos calibrate found for this model; where one starts from in chat."
    )
    temperature: float = setting(0.8, "Sampling temperature; 0 always takes the most likely token.", "", ge=0, le=10)
    top_k: int = setting(0, "Sample among the k most likely tokens; 0 is all.", "tokens", ge=0, le=1_000_000)
    top_p: float = setting(
        0.95, "Sample among the likeliest tokens that hold this share of probability.", "probability", gt=0, le=1
    )
    max_tokens: int = setting(200, "Most tokens to generate.", "tokens", ge=1, le=1_000_000)
    stop: tuple[str, ...] = setting((), "Texts that end an answer and are left out of it.")
    example: str = setting("", "A text to try, named in chat's empty field.")

    @model_validator(mode="after")
    def _exits_parse(self) -> InferConfig:
        for exit in (self.exit, *self.calibrated):
            parse_exit(exit)
        return self


Policy = Literal["note", "pause", "stop"]
StepPolicy = Literal["note", "skip", "pause", "stop"]
"""skip leaves out an update before it is made, so it is for what the step itself shows."""


class AlertConfig(Section):
    """What the trainer does about each kind of trouble: note it and go on, skip such updates, pause or stop."""

    nan: StepPolicy = setting(
        "stop", "Loss or gradient is NaN or infinite: skip leaves out such updates, stop saves nothing of them."
    )
    loss_spike: StepPolicy = setting(
        "note", "The loss jumps six robust deviations above its past; skip judges every step, also those not logged."
    )
    gradient_spike: StepPolicy = setting("note", "The gradient's norm jumps likewise.")
    expert_collapse: Policy = setting("note", "Few experts take most tokens, or some take none.")
    halting_collapse: Policy = setting("note", "Learned halting stops every token at the same loop.")
    state_growth: Policy = setting("note", "The state's norm goes on growing from loop to loop.")
    rho_a: Policy = setting("note", "ρ(A) comes to its bound model.a_max.")
    overfitting: Policy = setting("note", "Held-out loss rises while training loss falls.")
    low_throughput: Policy = setting("note", "Training becomes slow against its own past.")


EXIT_RULES: dict[str, tuple[float, float] | None] = {
    "auto": None,
    "act": None,
    "fixed": None,
    "gate": (0.0, 1.0),
    "confidence": (0.0, 1.0),
    "kl": (0.0, 100.0),
    "state_delta": (0.0, 100.0),
}
"""Exit rules by name, with the open interval of their threshold (None where they take none)."""


def parse_exit(text: str) -> tuple[str, float | None]:
    """`"confidence:0.9"` → `("confidence", 0.9)`. Raises ValueError naming what is allowed."""
    name, _, value = text.partition(":")
    if name not in EXIT_RULES:
        raise ValueError(f"exit rule {name!r} is unknown; choose one of {', '.join(EXIT_RULES)}")
    bounds = EXIT_RULES[name]
    if bounds is None:
        if value:
            raise ValueError(f"exit rule {name!r} takes no threshold, but {value!r} was given")
        return name, None
    try:
        threshold = float(value)
    except ValueError:
        raise ValueError(f"exit rule {name!r} needs a threshold, as in {name}:0.5") from None
    if not bounds[0] < threshold < bounds[1]:
        raise ValueError(
            f"exit rule {name!r} takes a threshold between {bounds[0]:g} and {bounds[1]:g}, not {threshold:g}"
        )
    return name, threshold


class Config(Section):
    """One run, whole: what `config.yaml` of a run or a checkpoint holds."""

    note: str = setting("", "What this configuration is for, in a sentence.")
    model: ModelConfig = Field(
        default_factory=RecurrentConfig, description="The model.", json_schema_extra={"unit": ""}
    )
    data: DataConfig = Field(default_factory=DataConfig, description="Its text.", json_schema_extra={"unit": ""})
    train: TrainConfig = Field(default_factory=TrainConfig, description="Its training.", json_schema_extra={"unit": ""})
    objective: ObjectiveConfig = Field(
        default_factory=ObjectiveConfig, description="Its objective.", json_schema_extra={"unit": ""}
    )
    infer: InferConfig = Field(
        default_factory=InferConfig, description="Defaults of generation.", json_schema_extra={"unit": ""}
    )
    alerts: AlertConfig = Field(
        default_factory=AlertConfig, description="What is done about trouble.", json_schema_extra={"unit": ""}
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Config:
        if self.train.sequence > self.model.context:
            raise ValueError(f"train.sequence {self.train.sequence} exceeds model.context {self.model.context}")
        if isinstance(self.model, RecurrentConfig):
            for key, value in (("objective.kind", self.objective.kind), ("infer.exit", self.infer.exit)):
                needs = {"act": "act", "entropy_gate": "gate", "gate": "gate"}.get(value.partition(":")[0])
                if needs and self.model.halting != needs:
                    raise ValueError(f"{key} {value!r} needs model.halting {needs!r}")
        return self


def check_vocabulary(size: int) -> None:
    """Imported models may have fewer tokens than a tokenizer of ours must. Raises ConfigError."""
    if size < 257:
        raise ConfigError(
            f"model.vocab_size {size} is too small to train a tokenizer.",
            "Set it to at least 257: every byte and the end of a text need a token.",
        )


def cache_root(data: DataConfig | None = None) -> Path:
    """Folder for prepared corpora: `data.cache_dir`, else $MYTHOS_CACHE, else ~/.cache/mythos."""
    import os

    chosen = (data.cache_dir if data else "") or os.environ.get("MYTHOS_CACHE", "") or "~/.cache/mythos"
    try:
        return Path(chosen).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"There is no home folder to keep {chosen} in.", "Set data.cache_dir or MYTHOS_CACHE to a folder."
        ) from None
