"""Mamba and Mamba-2 as their papers write them: numpy, float64, one token and one head after another."""

import numpy as np


def silu(x):
    return x / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def convolved(x, weight, bias):
    """bias + sum_i weight[:, i] x[t - taps + 1 + i] in row t; weight `(channels, taps)`."""
    taps = weight.shape[1]
    padded = np.concatenate([np.zeros((taps - 1, x.shape[1])), x])
    return np.stack([bias + (weight.T * padded[t : t + taps]).sum(0) for t in range(len(x))])


def mamba(w, u):
    """A block of Mamba on u `(T, dim)`, w the arrays of its state dict by name."""
    channels, states = w["A_log"].shape
    rank = w["dt_proj.weight"].shape[1]
    x, z = np.split(u @ w["in_proj.weight"].T, [channels], axis=1)
    x = silu(convolved(x, w["conv1d.weight"][:, 0], w["conv1d.bias"]))
    h, rows = np.zeros((channels, states)), []
    for t in range(len(u)):
        r, key, read = np.split(w["x_proj.weight"] @ x[t], [rank, rank + states])
        step = softplus(w["dt_proj.weight"] @ r + w["dt_proj.bias"])
        for d in range(channels):
            for n in range(states):
                rate = -np.exp(w["A_log"][d, n])
                h[d, n] = np.exp(step[d] * rate) * h[d, n] + step[d] * key[n] * x[t, d]
        y = (h * read).sum(1) + w["D"] * x[t]
        rows.append(w["out_proj.weight"] @ (y * silu(z[t])))
    return np.stack(rows)


def mamba2(w, u, *, head_dim, state_dim, groups=1, norm_before_gate=False, limits=(0.0, np.inf)):
    """A block of Mamba-2 on u `(T, dim)`, w the arrays of its state dict by name."""
    channels, heads = w["norm.weight"].size, w["A_log"].size
    shared = groups * state_dim
    z, mixed, raw = np.split(u @ w["in_proj.weight"].T, [channels, 2 * channels + 2 * shared], axis=1)
    mixed = silu(convolved(mixed, w["conv1d.weight"][:, 0], w["conv1d.bias"]))
    x, key, read = np.split(mixed, [channels, channels + shared], axis=1)
    step = np.clip(softplus(raw + w["dt_bias"]), *limits)
    h, rows = np.zeros((heads, state_dim, head_dim)), []
    for t in range(len(u)):
        y = np.zeros((heads, head_dim))
        for i in range(heads):
            g = i // (heads // groups)
            own = slice(g * state_dim, (g + 1) * state_dim)
            value = x[t, i * head_dim : (i + 1) * head_dim]
            decay = np.exp(-np.exp(w["A_log"][i]) * step[t, i])
            h[i] = decay * h[i] + step[t, i] * np.outer(key[t, own], value)
            skip = w["D"][i] if w["D"].size == heads else w["D"][i * head_dim : (i + 1) * head_dim]
            y[i] = read[t, own] @ h[i] + skip * value
        y = y.reshape(-1)
        y = y if norm_before_gate else y * silu(z[t])
        parts = y.reshape(groups, -1)
        y = (parts / np.sqrt((parts**2).mean(1, keepdims=True) + 1e-5)).reshape(-1) * w["norm.weight"]
        rows.append(w["out_proj.weight"] @ (y * silu(z[t]) if norm_before_gate else y))
    return np.stack(rows)


def language_model(w, tokens, block, layers):
    """Logits of a published model: x + mixer(rms_norm(x)) in every layer, a last norm, tied embeddings."""

    def norm(x, weight):
        return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * weight

    x = w["backbone.embedding.weight"][tokens]
    for i in range(layers):
        prefix = f"backbone.layers.{i}."
        mixer = {
            k.removeprefix(prefix + "mixer."): v for k, v in w.items() if k.startswith(prefix + "mixer.")
        }
        x = x + block(mixer, norm(x, w[prefix + "norm.weight"]))
    return norm(x, w["backbone.norm_f.weight"]) @ w["backbone.embedding.weight"].T
