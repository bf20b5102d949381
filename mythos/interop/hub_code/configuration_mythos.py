"""Settings of a recurrent-depth transformer; see modeling_mythos.py for what they switch."""

from typing import Any

from transformers import PretrainedConfig


class MythosRecurrentConfig(PretrainedConfig):
    model_type = "mythos_recurrent"
    attribute_map = {  # noqa: RUF012  (the base class has it so)
        "hidden_size": "width",
        "intermediate_size": "ffn_width",
        "max_position_embeddings": "context",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "initializer_range": "init_std",
    }

    def __init__(
        self,
        vocab_size: int = 4096,
        width: int = 256,
        context: int = 256,
        n_heads: int = 4,
        n_kv_heads: int = 2,
        ffn_width: int = 704,
        activation: str = "swiglu",
        attention: str = "gqa",
        mla_kv_rank: int = 64,
        mla_q_rank: int = 0,
        mla_rope_dim: int = 16,
        mla_nope_dim: int = 32,
        mla_v_dim: int = 32,
        norm: str = "pre",
        norm_eps: float = 1e-5,
        rope_theta: float = 10_000.0,
        init_std: float = 0.02,
        prelude_layers: int = 1,
        coda_layers: int = 1,
        attention_window: int = 0,
        loops: int = 4,
        max_loops: int = 8,
        n_experts: int = 8,
        experts_per_token: int = 2,
        expert_width: int = 192,
        n_shared_experts: int = 1,
        shared_expert_width: int = 0,
        injection: str = "lti",
        a_max: float = 0.5,
        loop_index_embedding: bool = False,
        loop_index_theta: float = 10_000.0,
        loop_lora_rank: int = 0,
        halting: str = "none",
        gate_width: int = 0,
        act_threshold: float = 0.99,
        act_remainder: bool = True,
        state_read_out: str = "auto",
        halted_tokens: str = "freeze",
        initial_state: str = "prelude",
        num_loops: int = 4,
        exit: str = "fixed",
        use_cache: bool = False,
        **kwargs: Any,
    ) -> None:
        """`loops` and `max_loops` are of the training; `num_loops` are run unless forward or generate is given others.

        `exit` says when a token stops before that: fixed (never), act, gate:P or state_delta:EPS.
        """
        own = {name: value for name, value in locals().items() if name not in ("self", "kwargs", "__class__")}
        for name, value in own.items():
            setattr(self, name, value)
        self.num_hidden_layers = prelude_layers + 1 + coda_layers
        super().__init__(**{"tie_word_embeddings": True, **kwargs})
