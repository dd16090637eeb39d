#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write models of many architectures, true in shape and empty of sense, for memory estimates.

    make_models.py DIR [NAME…]     writes DIR/NAME.gguf for the names (all small ones without)
    make_models.py --list          the names, each with its architecture, quantisation and bytes

A file has the metadata, the tensors, the shapes and the types that a real model of its kind has, so that an
engine loads it and takes the memory that such a model takes. All weights are zero and stand in the file as
holes: a model of 40 GB takes a few MB of disk. Only make_tiny_gguf.py's writer and the Python standard
library are used. The same name always gives the same bytes.

Names that end in `-real` have the shape of a published model, at its published size: they are for tools that
look at a model without loading it.
"""
import argparse
import math
import os
import struct
import sys
import tempfile

import make_tiny_gguf as tiny
from make_tiny_gguf import ARR, BOOL, F32, I32, STR, U32

# name: ggml's number of the type, elements of a block, bytes of a block
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
         "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144),
         "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136),
         "BF16": (30, 1, 2), "MXFP4": (39, 32, 17)}
ALIGN = 32


class Model:
    """What a file holds: `keys` are metadata (name without the architecture, kind, value), `tensors` are
    (name, shape with the fastest dimension first, role)."""

    def __init__(self, arch, recipe, vocab, ctx, embd, layers, ff, heads, kv_heads, **more):
        self.arch, self.recipe, self.vocab, self.ctx = arch, recipe, vocab, ctx
        self.embd, self.layers, self.ff, self.heads, self.kv_heads = embd, layers, ff, heads, kv_heads
        self.more = more
        self.key_len = more.get("key_len", embd // heads if heads else 0)
        self.value_len = more.get("value_len", self.key_len)
        self.tied = more.get("tied", False)
        self.keys, self.tensors = [], []
        FAMILIES[arch](self)

    def key(self, name, kind, value, elem=None):
        self.keys.append((name, kind, value, elem))

    def add(self, name, *shape, role="mat"):
        self.tensors.append((name, shape, role if len(shape) > 1 else "vec"))


# ---- families ----------------------------------------------------------------------------------------------

def ends(m, norm_bias=False):
    m.add("token_embd.weight", m.embd, m.vocab, role="embd")
    m.add("output_norm.weight", m.embd)
    if norm_bias:
        m.add("output_norm.bias", m.embd)
    if not m.tied:
        m.add("output.weight", m.embd, m.vocab, role="out")


def common(m):
    m.key("context_length", U32, m.ctx)
    m.key("embedding_length", U32, m.embd)
    m.key("block_count", U32, m.layers)
    m.key("feed_forward_length", U32, m.ff)
    m.key("attention.head_count", U32, m.heads)
    m.key("attention.head_count_kv", U32, m.kv_heads)
    m.key("attention.layer_norm_rms_epsilon", F32, 1e-6)
    m.key("rope.freq_base", F32, 10000.0)
    if m.heads and (m.key_len != m.embd // m.heads or m.value_len != m.key_len):
        m.key("attention.key_length", U32, m.key_len)
        m.key("attention.value_length", U32, m.value_len)


def attention(m, b, bias="", kv_heads=None, out_bias=False):
    kv = m.kv_heads if kv_heads is None else kv_heads
    sizes = {"q": m.heads * m.key_len, "k": kv * m.key_len, "v": kv * m.value_len}
    for one, n in sizes.items():
        m.add(b + "attn_%s.weight" % one, m.embd, n, role="attn_" + one)
        if one in bias:
            m.add(b + "attn_%s.bias" % one, n)
    m.add(b + "attn_output.weight", m.heads * m.value_len, m.embd, role="attn_o")
    if out_bias:
        m.add(b + "attn_output.bias", m.embd)


def feed_forward(m, b, ff=None, suffix=""):
    ff = ff or m.ff
    m.add(b + "ffn_gate%s.weight" % suffix, m.embd, ff)
    m.add(b + "ffn_up%s.weight" % suffix, m.embd, ff)
    m.add(b + "ffn_down%s.weight" % suffix, ff, m.embd, role="down")


def experts(m, b, bias=False):
    n, ff = m.more["experts"], m.more["expert_ff"]
    m.add(b + "ffn_gate_inp.weight", m.embd, n, role="f32")
    m.add(b + "ffn_gate_exps.weight", m.embd, ff, n, role="exps")
    m.add(b + "ffn_up_exps.weight", m.embd, ff, n, role="exps")
    m.add(b + "ffn_down_exps.weight", ff, m.embd, n, role="down_exps")
    if bias:
        m.add(b + "ffn_gate_inp.bias", n)
        m.add(b + "ffn_gate_exps.bias", ff, n, role="f32")
        m.add(b + "ffn_up_exps.bias", ff, n, role="f32")
        m.add(b + "ffn_down_exps.bias", m.embd, n, role="f32")


def expert_keys(m):
    m.key("expert_count", U32, m.more["experts"])
    m.key("expert_used_count", U32, m.more["experts_used"])
    m.key("expert_feed_forward_length", U32, m.more["expert_ff"])


def blocks(m, *norms):
    for i in range(m.layers):
        b = "blk.%d." % i
        for norm in norms:
            m.add(b + norm + ".weight", m.embd)
        yield i, b


def head_norms(m, b):
    m.add(b + "attn_q_norm.weight", m.key_len)
    m.add(b + "attn_k_norm.weight", m.key_len)


def llama(m):
    common(m)
    m.key("rope.dimension_count", U32, m.key_len)
    if m.more.get("experts"):
        m.key("expert_count", U32, m.more["experts"])
        m.key("expert_used_count", U32, m.more["experts_used"])
    ends(m)
    if m.more.get("rope_freqs"):
        m.add("rope_freqs.weight", m.key_len // 2)
    for _, b in blocks(m, "attn_norm", "ffn_norm"):
        attention(m, b)
        if m.more.get("experts"):
            m.more["expert_ff"] = m.ff
            experts(m, b)
        else:
            feed_forward(m, b)


def qwen2(m):
    common(m)
    ends(m)
    for _, b in blocks(m, "attn_norm", "ffn_norm"):
        attention(m, b, bias="qkv")
        feed_forward(m, b)


def qwen3(m):
    common(m)
    ends(m)
    for _, b in blocks(m, "attn_norm", "ffn_norm"):
        attention(m, b)
        head_norms(m, b)
        feed_forward(m, b)


def qwen3moe(m):
    common(m)
    expert_keys(m)
    ends(m)
    for _, b in blocks(m, "attn_norm", "ffn_norm"):
        attention(m, b)
        head_norms(m, b)
        experts(m, b)


def gemma2(m):
    common(m)
    m.key("attention.sliding_window", U32, m.more["window"])
    m.key("attn_logit_softcapping", F32, 50.0)
    m.key("final_logit_softcapping", F32, 30.0)
    ends(m)
    for _, b in blocks(m, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
        attention(m, b)
        feed_forward(m, b)


def gemma3(m):
    common(m)
    m.key("attention.sliding_window", U32, m.more["window"])
    ends(m)
    for _, b in blocks(m, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
        attention(m, b)
        head_norms(m, b)
        feed_forward(m, b)


def per_layer_inputs(m):
    m.add("per_layer_token_embd.weight", m.more["per_layer"] * m.layers, m.vocab, role="embd")
    m.add("per_layer_model_proj.weight", m.embd, m.more["per_layer"] * m.layers)
    m.add("per_layer_proj_norm.weight", m.more["per_layer"])


def per_layer_block(m, b):
    m.add(b + "inp_gate.weight", m.embd, m.more["per_layer"])
    m.add(b + "proj.weight", m.more["per_layer"], m.embd)
    m.add(b + "post_norm.weight", m.embd)


def gemma3n(m):
    """Four streams, and inputs of each layer's own; llama.cpp takes no other sizes of the two than these."""
    streams, laurel = 4, 64
    m.more["per_layer"] = 256
    common(m)
    m.key("attention.sliding_window", U32, m.more["window"])
    m.key("embedding_length_per_layer_input", U32, m.more["per_layer"])
    m.key("altup.num_inputs", U32, streams)
    ends(m)
    per_layer_inputs(m)
    m.add("altup_proj.weight", m.embd, m.embd, streams - 1)
    m.add("altup_unembd_proj.weight", m.embd, m.embd, streams - 1)
    for _, b in blocks(m, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "laurel_post_norm",
                       "altup_router_norm", "altup_correct_scale"):
        attention(m, b)
        head_norms(m, b)
        feed_forward(m, b)
        per_layer_block(m, b)
        m.add(b + "altup_correct_coef.weight", streams, streams, role="f32")
        m.add(b + "altup_predict_coef.weight", streams, streams * streams, role="f32")
        m.add(b + "altup_router.weight", m.embd, streams, role="f32")
        m.add(b + "laurel_l.weight", m.embd, laurel)
        m.add(b + "laurel_r.weight", laurel, m.embd)


def gemma4(m):
    """Heads that see all are longer than those with a window; the last layers read the caches of others."""
    slides = [i % m.more["every"] != m.more["every"] - 1 for i in range(m.layers)]
    long_head, short_head = m.more["long_head"], m.key_len
    m.key_len = m.value_len = long_head
    common(m)
    m.key("attention.sliding_window", U32, m.more["window"])
    m.key("attention.sliding_window_pattern", ARR, slides, BOOL)
    m.key("attention.key_length_swa", U32, short_head)
    m.key("attention.value_length_swa", U32, short_head)
    m.key("rope.dimension_count", U32, long_head)
    m.key("rope.dimension_count_swa", U32, short_head)
    m.key("attention.shared_kv_layers", U32, m.more["shared"])
    m.key("embedding_length_per_layer_input", U32, m.more["per_layer"])
    ends(m)
    m.add("rope_freqs.weight", long_head // 2)
    if m.more["per_layer"]:
        per_layer_inputs(m)
    for i, b in blocks(m, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
        m.key_len = m.value_len = short_head if slides[i] else long_head
        attention(m, b)
        head_norms(m, b)
        feed_forward(m, b)
        m.add(b + "layer_output_scale.weight", 1)
        if m.more["per_layer"]:
            per_layer_block(m, b)


def gpt_oss(m):
    common(m)
    expert_keys(m)
    m.key("attention.sliding_window", U32, m.more["window"])
    ends(m)
    for _, b in blocks(m, "attn_norm", "post_attention_norm"):
        attention(m, b, bias="qkv", out_bias=True)
        m.add(b + "attn_sinks.weight", m.heads)
        experts(m, b, bias=True)


def deepseek2(m):
    rope, nope = m.more["rope"], m.more["nope"]
    lora, q_lora, v = m.more["kv_lora"], m.more.get("q_lora", 0), m.more["v_mla"]
    m.key_len, m.value_len = lora + rope, lora
    common(m)
    if not any(k[0] == "attention.key_length" for k in m.keys):
        m.key("attention.key_length", U32, m.key_len)
        m.key("attention.value_length", U32, m.value_len)
    m.key("attention.key_length_mla", U32, nope + rope)
    m.key("attention.value_length_mla", U32, v)
    m.key("attention.kv_lora_rank", U32, lora)
    if q_lora:
        m.key("attention.q_lora_rank", U32, q_lora)
    m.key("rope.dimension_count", U32, rope)
    m.key("leading_dense_block_count", U32, m.more["dense"])
    expert_keys(m)
    m.key("expert_shared_count", U32, 1)
    m.key("expert_weights_scale", F32, 1.0)
    m.key("expert_weights_norm", BOOL, True)
    m.key("expert_gating_func", U32, 2)
    ends(m)
    for i, b in blocks(m, "attn_norm", "ffn_norm"):
        if q_lora:
            m.add(b + "attn_q_a.weight", m.embd, q_lora)
            m.add(b + "attn_q_a_norm.weight", q_lora)
            m.add(b + "attn_q_b.weight", q_lora, m.heads * (nope + rope))
        else:
            m.add(b + "attn_q.weight", m.embd, m.heads * (nope + rope))
        m.add(b + "attn_kv_a_mqa.weight", m.embd, lora + rope)
        m.add(b + "attn_kv_a_norm.weight", lora)
        m.add(b + "attn_k_b.weight", nope, lora, m.heads, role="kb")
        m.add(b + "attn_v_b.weight", lora, v, m.heads, role="kb")
        m.add(b + "attn_output.weight", m.heads * v, m.embd)
        if i < m.more["dense"]:
            feed_forward(m, b)
        else:
            experts(m, b)
            m.add(b + "exp_probs_b.bias", m.more["experts"])
            feed_forward(m, b, m.more["expert_ff"], "_shexp")


def mamba_keys(m):
    m.key("ssm.conv_kernel", U32, m.more["conv"])
    m.key("ssm.inner_size", U32, m.more["inner"])
    m.key("ssm.state_size", U32, m.more["state"])
    m.key("ssm.time_step_rank", U32, m.more["dt"])


def mamba(m):
    inner, state, dt = m.more["inner"], m.more["state"], m.more["dt"]
    common(m)
    mamba_keys(m)
    ends(m)
    for _, b in blocks(m, "attn_norm"):
        m.add(b + "ssm_in.weight", m.embd, 2 * inner)
        m.add(b + "ssm_conv1d.weight", m.more["conv"], inner, role="f32")
        m.add(b + "ssm_conv1d.bias", inner)
        m.add(b + "ssm_x.weight", inner, dt + 2 * state)
        m.add(b + "ssm_dt.weight", dt, inner, role="f32")
        m.add(b + "ssm_dt.bias", inner)
        m.add(b + "ssm_a", state, inner, role="f32")
        m.add(b + "ssm_d", inner)
        m.add(b + "ssm_out.weight", inner, m.embd)


def mamba2_block(m, b):
    inner, state, dt, groups = m.more["inner"], m.more["state"], m.more["dt"], m.more["groups"]
    conv = inner + 2 * groups * state
    m.add(b + "ssm_in.weight", m.embd, 2 * inner + 2 * groups * state + dt)
    m.add(b + "ssm_conv1d.weight", m.more["conv"], conv, role="f32")
    m.add(b + "ssm_conv1d.bias", conv)
    m.add(b + "ssm_dt.bias", dt)
    m.add(b + "ssm_a", 1, dt, role="f32")
    m.add(b + "ssm_d", 1, dt, role="f32")
    m.add(b + "ssm_norm.weight", inner // groups, groups, role="f32")
    m.add(b + "ssm_out.weight", inner, m.embd)


def mamba2(m):
    common(m)
    mamba_keys(m)
    m.key("ssm.group_count", U32, m.more["groups"])
    ends(m)
    for _, b in blocks(m, "attn_norm"):
        mamba2_block(m, b)


def granite_hybrid(m):
    """Recurrent layers with an attention layer here and there; who has KV stands in an array per layer."""
    common(m)
    m.keys = [k for k in m.keys if k[0] != "attention.head_count_kv"]
    has_kv = [i % m.more["every"] == m.more["every"] - 1 for i in range(m.layers)]
    m.key("attention.head_count_kv", ARR, [m.kv_heads if kv else 0 for kv in has_kv], U32)
    mamba_keys(m)
    m.key("ssm.group_count", U32, m.more["groups"])
    m.key("rope.dimension_count", U32, m.key_len)
    ends(m)
    for i, b in blocks(m, "attn_norm", "ffn_norm"):
        if has_kv[i]:
            attention(m, b)
        else:
            mamba2_block(m, b)
        feed_forward(m, b)


def phi3(m):
    common(m)
    m.key("rope.dimension_count", U32, m.key_len)
    ends(m)
    for _, b in blocks(m, "attn_norm", "ffn_norm"):
        m.add(b + "attn_qkv.weight", m.embd, (m.heads + 2 * m.kv_heads) * m.key_len)
        m.add(b + "attn_output.weight", m.embd, m.embd)
        m.add(b + "ffn_up.weight", m.embd, 2 * m.ff)
        m.add(b + "ffn_down.weight", m.ff, m.embd, role="down")


def command_r(m):
    common(m)
    m.key("attention.layer_norm_epsilon", F32, 1e-5)
    m.key("logit_scale", F32, 0.0625)
    ends(m)
    for _, b in blocks(m, "attn_norm"):
        attention(m, b)
        feed_forward(m, b)


def starcoder2(m):
    common(m)
    m.key("attention.layer_norm_epsilon", F32, 1e-5)
    ends(m, norm_bias=True)
    for _, b in blocks(m, "attn_norm", "ffn_norm"):
        m.add(b + "attn_norm.bias", m.embd)
        m.add(b + "ffn_norm.bias", m.embd)
        attention(m, b, bias="qkv", out_bias=True)
        m.add(b + "ffn_up.weight", m.embd, m.ff)
        m.add(b + "ffn_up.bias", m.ff)
        m.add(b + "ffn_down.weight", m.ff, m.embd, role="down")
        m.add(b + "ffn_down.bias", m.embd)


FAMILIES = {"llama": llama, "qwen2": qwen2, "qwen3": qwen3, "qwen3moe": qwen3moe, "gemma2": gemma2,
            "gemma3": gemma3, "gemma3n": gemma3n, "gemma4": gemma4, "gpt-oss": gpt_oss, "deepseek2": deepseek2,
            "mamba": mamba, "mamba2": mamba2, "granitehybrid": granite_hybrid, "phi3": phi3, "command-r": command_r,
            "starcoder2": starcoder2}


# ---- the types of a recipe ---------------------------------------------------------------------------------

def is_large(i, n):
    """The layers that a Q4_K_M file keeps in more bits."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def type_of(m, name, shape, role):
    if role in ("vec", "f32"):
        return "F32"
    layer = int(name.split(".")[1]) if name.startswith("blk.") else 0
    if m.recipe == "Q4_K_M":
        if role == "out" or (role == "embd" and m.tied):
            wanted = "Q6_K"
        elif role in ("down", "down_exps", "attn_v"):
            wanted = "Q6_K" if is_large(layer, m.layers) else "Q4_K"
        else:
            wanted = "Q4_K"
    elif m.recipe == "MXFP4":
        wanted = "MXFP4" if "exps" in role else "Q8_0"
    elif role in ("out", "embd") and m.recipe in ("Q2_K", "Q3_K", "IQ4_XS"):
        wanted = "Q6_K"
    else:
        wanted = m.recipe
    if shape[0] % TYPES[wanted][1]:
        wanted = "Q8_0" if shape[0] % 32 == 0 else "F16"
    return wanted


def n_bytes(kind, shape):
    _, block, size = TYPES[kind]
    return math.prod(shape) // block * size


# ---- writing -----------------------------------------------------------------------------------------------

def vocabulary(n):
    pieces = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]
    types = [tiny.UNKNOWN, tiny.CONTROL, tiny.CONTROL] + [tiny.BYTE] * 256
    pieces += ["\u2581w%d" % i for i in range(n - len(pieces))]
    types += [tiny.NORMAL] * (n - len(types))
    return pieces, types


def header(m, name):
    pieces, types = vocabulary(m.vocab)
    pairs = [tiny.kv("general.architecture", STR, m.arch), tiny.kv("general.name", STR, "empty"),
             tiny.kv("general.alignment", U32, ALIGN),
             tiny.kv(m.arch + ".vocab_size", U32, m.vocab)]
    pairs += [tiny.kv(m.arch + "." + key, kind, value, elem) for key, kind, value, elem in m.keys]
    pairs += [tiny.kv("tokenizer.ggml.model", STR, "llama"),
              tiny.kv("tokenizer.ggml.tokens", ARR, pieces, STR),
              tiny.kv("tokenizer.ggml.scores", ARR, [0.0] * m.vocab, F32),
              tiny.kv("tokenizer.ggml.token_type", ARR, types, I32),
              tiny.kv("tokenizer.ggml.bos_token_id", U32, 1), tiny.kv("tokenizer.ggml.eos_token_id", U32, 2),
              tiny.kv("tokenizer.ggml.unknown_token_id", U32, 0),
              tiny.kv("tokenizer.chat_template", STR, tiny.CHAT_TEMPLATE)]
    infos, offset = [], 0
    for tensor, shape, role in m.tensors:
        kind = type_of(m, tensor, shape, role)
        infos.append(tiny.s(tensor) + struct.pack("<I%dQ" % len(shape), len(shape), *shape)
                     + struct.pack("<IQ", TYPES[kind][0], offset))
        offset += (n_bytes(kind, shape) + ALIGN - 1) // ALIGN * ALIGN
    head = (b"GGUF" + struct.pack("<IQQ", 3, len(m.tensors), len(pairs)) + b"".join(pairs) + b"".join(infos))
    return head, (len(head) + ALIGN - 1) // ALIGN * ALIGN + offset


def write(folder, name):
    head, size = header(MODELS[name](), name)
    path = os.path.join(folder, name + ".gguf")
    handle, tmp = tempfile.mkstemp(prefix=name + ".", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as f:
            os.fchmod(f.fileno(), 0o644)
            f.write(head)
            f.truncate(size)
        os.replace(tmp, path)
    except BaseException:
        os.unlink(tmp)
        raise
    return path


# ---- the models --------------------------------------------------------------------------------------------

# name: architecture, recipe, vocabulary, context, embedding, layers, feed forward, heads, KV heads, more
def _(*a, **more):
    return lambda: Model(*a, **more)


MODELS = {
    "llama-f16": _("llama", "F16", 32000, 8192, 1024, 8, 2816, 16, 4),
    "llama-q4_k_m": _("llama", "Q4_K_M", 128256, 131072, 1024, 16, 3584, 16, 8, rope_freqs=True),
    "llama-q8_0-tied": _("llama", "Q8_0", 49152, 8192, 768, 12, 2048, 12, 4, tied=True),
    "mixtral-q4_0": _("llama", "Q4_0", 32000, 32768, 1024, 8, 1792, 16, 4, experts=8, experts_used=2),
    "qwen2-q6_k": _("qwen2", "Q6_K", 151936, 32768, 1024, 12, 2816, 16, 2),
    "qwen2-q5_k-tied": _("qwen2", "Q5_K", 151936, 32768, 768, 16, 2048, 12, 2, tied=True),
    "qwen3-q4_k_m": _("qwen3", "Q4_K_M", 151936, 40960, 1024, 14, 3072, 16, 8, key_len=128),
    "qwen3-bf16-tied": _("qwen3", "BF16", 65536, 40960, 512, 10, 1536, 8, 4, key_len=128, tied=True),
    "qwen3moe-q4_k_m": _("qwen3moe", "Q4_K_M", 151936, 40960, 1024, 12, 3072, 16, 4, key_len=128,
                         experts=32, experts_used=8, expert_ff=512),
    "gemma2-q4_0": _("gemma2", "Q4_0", 131072, 8192, 1024, 10, 4096, 8, 4, key_len=128, window=1024, tied=True),
    "gemma3-q4_k_m": _("gemma3", "Q4_K_M", 131072, 131072, 1024, 14, 4096, 8, 4, key_len=128, window=512,
                       tied=True),
    "gemma3n-q8_0": _("gemma3n", "Q8_0", 65536, 32768, 512, 10, 2048, 8, 2, key_len=64, window=512, tied=True),
    "gemma4-q4_k_m": _("gemma4", "Q4_K_M", 65536, 131072, 512, 12, 2048, 8, 2, key_len=64, long_head=128, every=6,
                       window=512, shared=6, per_layer=256, tied=True),
    "gpt-oss-mxfp4": _("gpt-oss", "MXFP4", 201088, 131072, 1024, 8, 1024, 16, 4, key_len=64, window=128,
                       experts=16, experts_used=4, expert_ff=1024),
    "deepseek2-q4_k_m": _("deepseek2", "Q4_K_M", 102400, 16384, 1024, 8, 4096, 16, 1, q_lora=512, kv_lora=256,
                          rope=64, nope=128, v_mla=128, dense=1, experts=16, experts_used=4, expert_ff=512),
    "mamba-f16": _("mamba", "F16", 50280, 1048576, 768, 16, 0, 0, 0, conv=4, inner=1536, state=16, dt=48),
    "mamba2-q8_0": _("mamba2", "Q8_0", 50280, 1048576, 1024, 16, 0, 0, 0, conv=4, inner=2048, state=128, dt=32,
                     groups=1),
    "granite-hybrid-q4_k_m": _("granitehybrid", "Q4_K_M", 100352, 131072, 1024, 12, 2048, 16, 4, conv=4,
                               inner=2048, state=128, dt=32, groups=1, every=4),
    "phi3-q4_0": _("phi3", "Q4_0", 32064, 4096, 1024, 12, 2816, 16, 16),
    "command-r-q3_k": _("command-r", "Q3_K", 256000, 131072, 1024, 8, 2816, 16, 4, tied=True),
    "starcoder2-iq4_xs": _("starcoder2", "IQ4_XS", 49152, 16384, 1024, 12, 4096, 16, 2),

    "llama-3.1-8b-real": _("llama", "Q4_K_M", 128256, 131072, 4096, 32, 14336, 32, 8, rope_freqs=True),
    "llama-3.1-70b-real": _("llama", "Q4_K_M", 128256, 131072, 8192, 80, 28672, 64, 8, rope_freqs=True),
    "qwen2.5-32b-real": _("qwen2", "Q4_K_M", 152064, 32768, 5120, 64, 27648, 40, 8),
    "qwen3-4b-real": _("qwen3", "Q4_K_M", 151936, 40960, 2560, 36, 9728, 32, 8, key_len=128, tied=True),
    "qwen3-30b-a3b-real": _("qwen3moe", "Q4_K_M", 151936, 40960, 2048, 48, 6144, 32, 4, key_len=128,
                            experts=128, experts_used=8, expert_ff=768),
    "gpt-oss-20b-real": _("gpt-oss", "MXFP4", 201088, 131072, 2880, 24, 2880, 64, 8, key_len=64, window=128,
                          experts=32, experts_used=4, expert_ff=2880),
    "gemma-3-27b-real": _("gemma3", "Q4_K_M", 262208, 131072, 5376, 62, 21504, 32, 16, key_len=128, window=1024,
                          tied=True),
    "deepseek-v3-real": _("deepseek2", "Q4_K_M", 129280, 163840, 7168, 61, 18432, 128, 1, q_lora=1536,
                          kv_lora=512, rope=64, nope=128, v_mla=128, dense=3, experts=256, experts_used=8,
                          expert_ff=2048),
}


def small():
    return [name for name in MODELS if not name.endswith("-real")]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="?")
    p.add_argument("names", nargs="*")
    p.add_argument("--list", action="store_true", help="the names, and what they are")
    a = p.parse_args()
    if a.list:
        for name in MODELS:
            m = MODELS[name]()
            print("%-24s %-14s %-7s %6.0f MiB" % (name, m.arch, m.recipe, header(m, name)[1] / 2**20))
        return
    if not a.folder:
        p.error("DIR is missing")
    unknown = [name for name in a.names if name not in MODELS]
    if unknown:
        p.error("no model '%s'; --list shows the names" % unknown[0])
    try:
        os.makedirs(a.folder, exist_ok=True)
        for name in a.names or small():
            print(write(a.folder, name))
    except OSError as e:
        sys.exit("make_models.py: cannot write to '%s': %s" % (a.folder, e.strerror))


if __name__ == "__main__":
    main()
