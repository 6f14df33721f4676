"""Attention by the AttnLRP rules (Achtibat et al. 2024): softmax by its Taylor expansion, products shared equally.

Attention is noted as the products, the softmax and the linear maps that it is made of, so that every part takes its
own rule: nothing here hands back relevance itself.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.tape import Call


@register(F.scaled_dot_product_attention)
def scaled_dot_product_attention(call: Call) -> Any:
    """`softmax(q k^T / sqrt(d) + mask) v`."""
    p = call.bind("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    if p.get("dropout_p"):
        raise call.refuse("attention dropout is random", "call eval() on the network")
    if p.get("enable_gqa"):
        raise call.refuse("grouped queries are not supported", "repeat keys and values before the call")
    q, k, mask = p["query"], p["key"], p.get("attn_mask")
    if p.get("is_causal"):
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    scale = 1 / math.sqrt(q.shape[-1]) if p.get("scale") is None else p["scale"]
    return call.on_tape(attend, q, k, p["value"], mask, scale)[0]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Attention in functions that each have a rule: output and attention weights."""
    scores = torch.matmul(q * scale, k.transpose(-2, -1))
    if mask is not None:
        hidden = mask.logical_not() if mask.dtype == torch.bool else mask == -torch.inf
        if mask.dtype != torch.bool:
            scores = scores + mask.masked_fill(hidden, 0.0)
        blind = hidden.all(-1, keepdim=True)  # queries that see no key: their weights are zero
        scores = scores.masked_fill(hidden & ~blind, -torch.inf)
        weights = scores.softmax(-1).masked_fill(blind, 0.0)
    else:
        weights = scores.softmax(-1)
    return torch.matmul(weights, v), weights


@register(F.multi_head_attention_forward)
def multi_head_attention(call: Call) -> Any:
    """`nn.MultiheadAttention`: linear maps to queries, keys and values, attention by head, a linear map back."""
    names = (
        "query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn "
        "dropout_p out_proj_weight out_proj_bias training key_padding_mask need_weights attn_mask "
        "use_separate_proj_weight q_proj_weight k_proj_weight v_proj_weight static_k static_v "
        "average_attn_weights is_causal"
    )
    p = call.bind(*names.split())
    if p.get("training", True) and p.get("dropout_p"):
        raise call.refuse("attention dropout is random in training mode", "call eval() on the network")
    if any(p.get(k) is not None for k in ("bias_k", "bias_v", "static_k", "static_v")) or p.get("add_zero_attn"):
        raise call.refuse("extra keys and values are not supported", "leave add_bias_kv and add_zero_attn off")
    return call.on_tape(_multi_head, p)


def _multi_head(p: dict) -> tuple[Tensor, Tensor | None]:
    """Queries, keys and values are `[T, B, E]` (or `[T, E]` for one image)."""
    single = p["query"].ndim == 2
    sequences = [t.unsqueeze(1) if single else t for t in (p["query"], p["key"], p["value"])]
    heads, (length, batch, width) = p["num_heads"], sequences[0].shape
    if p.get("use_separate_proj_weight"):
        matrices = [p["q_proj_weight"], p["k_proj_weight"], p["v_proj_weight"]]
    else:
        matrices = p["in_proj_weight"].chunk(3)
    biases = [None] * 3 if p["in_proj_bias"] is None else p["in_proj_bias"].chunk(3)
    by_head = []
    for t, w, b in zip(sequences, matrices, biases):
        h = F.linear(t, w, b)
        by_head.append(h.reshape(h.shape[0], batch, heads, -1).permute(1, 2, 0, 3))  # [B, heads, T, E / heads]
    q, k, v = by_head
    out, weights = attend(q, k, v, _mask(p, batch, heads), 1 / math.sqrt(q.shape[-1]))
    out = F.linear(out.permute(2, 0, 1, 3).reshape(length, batch, width), p["out_proj_weight"], p["out_proj_bias"])
    out = out.squeeze(1) if single else out
    if not p.get("need_weights", True):
        return out, None
    weights = weights.mean(1) if p.get("average_attn_weights", True) else weights
    return out, weights.squeeze(0) if single else weights


def _mask(p: dict, batch: int, heads: int) -> Tensor | None:
    """Both masks as one to be added, `[B or 1, heads or 1, T or 1, T]`; nothing of it descends from the images."""
    attention, padding = p.get("attn_mask"), p.get("key_padding_mask")
    like = p["in_proj_weight"] if p["in_proj_weight"] is not None else p["q_proj_weight"]
    added = lambda m: torch.zeros_like(m, dtype=like.dtype).masked_fill(m, -torch.inf) if m.dtype == torch.bool else m
    masks = []
    if attention is not None:
        m = added(attention)
        masks.append(m if m.ndim == 2 else m.reshape(batch, heads, *m.shape[-2:]))
    if padding is not None:
        m = added(padding)
        masks.append((m if m.ndim == 2 else m.unsqueeze(0))[:, None, None, :])
    return sum(masks) if masks else None
