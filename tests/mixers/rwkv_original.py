"""RWKV-6 and RWKV-7 as their authors wrote them, one row and one token at a time, in numpy and float64.

Names, layouts and order are the original's: weights by their keys in a checkpoint, states V x K, decays as
exp(-exp(w)). Nothing here is shared with the package.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer_norm(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def by_head(x, weights, heads):
    """GroupNorm(heads, C, eps=64e-5), the norm ln_x."""
    parts = x.reshape(heads, -1)
    return layer_norm(parts, 1, 0, 64e-5).reshape(-1) * weights["ln_x.weight"] + weights["ln_x.bias"]


def attention6(weights, x, heads):
    """RWKV_Tmix_x060, for x (T, C)."""
    w = {
        name: np.squeeze(tensor) if tensor.ndim == 3 and name != "time_maa_w2" else tensor
        for name, tensor in weights.items()
    }
    width = x.shape[1] // heads
    state = np.zeros((heads, width, width))
    last, outputs = np.zeros(x.shape[1]), []
    for token in x:
        xx = last - token
        mixed = np.tanh((token + xx * w["time_maa_x"]) @ w["time_maa_w1"]).reshape(5, 1, -1)
        mw, mk, mv, mr, mg = (mixed @ w["time_maa_w2"])[:, 0]
        r = w["receptance.weight"] @ (token + xx * (w["time_maa_r"] + mr))
        k = w["key.weight"] @ (token + xx * (w["time_maa_k"] + mk))
        v = w["value.weight"] @ (token + xx * (w["time_maa_v"] + mv))
        g = w["gate.weight"] @ (token + xx * (w["time_maa_g"] + mg))
        decay = (
            w["time_decay"]
            + np.tanh((token + xx * (w["time_maa_w"] + mw)) @ w["time_decay_w1"]) @ w["time_decay_w2"]
        )
        decay = np.exp(-np.exp(decay))
        y = np.zeros((heads, width))
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            kv = np.outer(v[part], k[part])
            y[h] = (state[h] + kv * w["time_faaaa"][h]) @ r[part]
            state[h] = state[h] * decay[part] + kv
        y = by_head(y.reshape(-1), weights, heads) * g * sigmoid(g)
        outputs.append(w["output.weight"] @ y)
        last = token
    return np.stack(outputs)


def attention7(weights, x, heads, layer, v_first):
    """RWKV_Tmix_x070, for x (T, C); returns y and v_first."""
    w = {name: np.squeeze(tensor) if tensor.ndim == 3 else tensor for name, tensor in weights.items()}
    width = x.shape[1] // heads
    state = np.zeros((heads, width, width))
    last, outputs, values = np.zeros(x.shape[1]), [], []
    for t, token in enumerate(x):
        xx = last - token
        xr, xw, xk, xv, xa, xg = (token + xx * w[f"x_{name}"] for name in "rwkvag")
        r, k, v = w["receptance.weight"] @ xr, w["key.weight"] @ xk, w["value.weight"] @ xv
        soft = -np.log1p(np.exp(-(w["w0"] + np.tanh(xw @ w["w1"]) @ w["w2"]))) - 0.5
        decay = np.exp(-np.exp(soft))
        values.append(v)
        if layer:
            v = v + (v_first[t] - v) * sigmoid(w["v0"] + (xv @ w["v1"]) @ w["v2"])
        a = sigmoid(w["a0"] + (xa @ w["a1"]) @ w["a2"])
        g = sigmoid(xg @ w["g1"]) @ w["g2"]
        kk = (k * w["k_k"]).reshape(heads, width)
        kk = (kk / np.linalg.norm(kk, axis=1, keepdims=True)).reshape(-1)
        k = k * (1 + (a - 1) * w["k_a"])
        y, bonus = np.zeros((heads, width)), np.zeros((heads, width))
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            removed = state[h] @ -kk[part]
            state[h] = state[h] * decay[part] + np.outer(removed, (kk * a)[part]) + np.outer(v[part], k[part])
            y[h] = state[h] @ r[part]
            bonus[h] = (r[part] * k[part] * w["r_k"][h]).sum() * v[part]
        y = by_head(y.reshape(-1), weights, heads) + bonus.reshape(-1)
        outputs.append(w["output.weight"] @ (y * g))
        last = token
    return np.stack(outputs), v_first if layer else np.stack(values)


def channel_mix(weights, x):
    """The feed-forward network of RWKV-6 where there is a receptance, else that of RWKV-7."""
    w = {name: np.squeeze(tensor) for name, tensor in weights.items()}
    last, outputs = np.zeros(x.shape[1]), []
    for token in x:
        xx = last - token
        if "receptance.weight" in w:
            k = np.maximum(w["key.weight"] @ (token + xx * w["time_maa_k"]), 0) ** 2
            r = w["receptance.weight"] @ (token + xx * w["time_maa_r"])
            outputs.append(sigmoid(r) * (w["value.weight"] @ k))
        else:
            k = np.maximum(w["key.weight"] @ (token + xx * w["x_k"]), 0) ** 2
            outputs.append(w["value.weight"] @ k)
        last = token
    return np.stack(outputs)


def logits(weights, tokens, heads):
    """The whole model, for tokens (T,), of a checkpoint of either."""

    def under(prefix):
        return {name[len(prefix) :]: x for name, x in weights.items() if name.startswith(prefix)}

    def norm(prefix, x):
        return layer_norm(x, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"])

    x = weights["emb.weight"][tokens]
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    v_first = None
    for layer in range(layers):
        block = f"blocks.{layer}"
        if layer == 0:
            x = norm(f"{block}.ln0", x)
        attention, inner = under(f"{block}.att."), norm(f"{block}.ln1", x)
        if "r_k" in attention:
            y, v_first = attention7(attention, inner, heads, layer, v_first)
        else:
            y = attention6(attention, inner, heads)
        x = x + y
        x = x + channel_mix(under(f"{block}.ffn."), norm(f"{block}.ln2", x))
    return norm("ln_out", x) @ weights["head.weight"].T
