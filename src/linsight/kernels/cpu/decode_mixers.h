// A token through one mixer: what its projections say of the state, the update, the read, and what comes after.
#pragma once

#include "decode_functions.h"
#include "decode_products.h"

namespace linsight {
namespace decoding {

// Numbers of a row, function(weights input + bias), which follow those of the projections before. The input is the
// row's vector x; or, with a share, x + share (before - x), of the token before; or numbers of earlier projections.
struct Projection {
  Matrix weights;
  int64_t input, share_at, function;  // places of earlier numbers; -1: none
  const float *share, *bias;          // (dim,), (outputs,), or null
};

// y_t = bias + sum_i weights_i x_(t - taps + 1 + i), then silu, of some channels of a row.
struct Convolution {
  int64_t first, channels;
  const float *weights, *bias;  // (taps, channels), (channels,) or null
  float *inputs;                // (batch, taps - 1, channels), oldest first
};

// A memory (keys, values) by head, or with `rates` numbers (keys,) by channel. What a row's projections hold stands
// at these places; -1: not there. With s = softplus(step + step_bias):
//   keep = constant, exp(rate s), or by feature exp(rate decay);  v = v + (first - v) residual;
//   S = keep S + gain k v^T with gain s, or k (beta (v - keep S^T k))^T,
//       or k (1 + (learning - 1) replacement) v^T - learning kk (S^T kk)^T with kk = k removal, of length 1;
//   o = q^T S, over its sum where there is a normaliser, + skip v, or with a bonus q^T S before + (q . bonus k) v;
//   and after the norm o + (q . own k) v.
// With features W, of queries and keys of W's width, q is exp(W q) / its sum and k exp(W k - |k|^2 / (2 sqrt width)
// - c), c the logarithm of the largest sum of a key so far, to which the memory is relative: keep = exp(c before - c).
struct Mixing {
  int64_t q, k, v, gate, step, beta, decay, learning, residual;
  int64_t heads, groups, keys, values, map, normalise, unit, taps, num_convolutions, num_projections;
  int64_t norm_groups, gate_first, gate_function, relays, kernel, own_draw;
  double scale, largest, norm_eps;                  // of queries; of beta; of the norm by group
  const double *frequencies;                        // (keys / 2,) of rotary positions
  const float *constant, *rate, *step_bias, *skip;  // by head
  const float *bonus, *own, *removal, *replacement; // (heads, keys)
  const float *norm, *norm_bias;                    // (heads values,); with a bias, of differences from the mean
  Convolution convolutions[3];                      // of what the first projection gives
  const Projection *projections;
  Matrix features;                                  // from the width to keys, or half of them; no data: none
  const float *rates;                               // of a scan: (channels, keys)
  float *state;                                     // (batch, heads, keys, values + normalise); (batch, channels, keys)
  float *shift, *peak;                              // (batch, dim), vectors of the tokens before; (batch, heads), c
  int64_t *position, *draw;                         // (batch,); of which features a row's memory is, 0: of none yet
};

}  // namespace decoding

namespace LINSIGHT_LEVEL {
namespace decode {

constexpr float FLOOR = 1e-6f, UNIT = 1e-6f, SHORTEST = 1e-12f;

static void convolve(const Convolution &c, int64_t taps, int64_t row, float *y) {
  float *x = y + c.first, *inputs = c.inputs + row * (taps - 1) * c.channels;
  each(c.channels, BODY {
    const Vector now = load(x + i, count);
    Vector total = c.bias ? load(c.bias + i, count) : Vector{};
    for (int64_t tap = 0; tap < taps - 1; ++tap) {
      float *seen = inputs + tap * c.channels + i;
      total += load(seen, count) * load(c.weights + tap * c.channels + i, count);
      store(seen, tap + 2 < taps ? load(seen + c.channels, count) : now, count);
    }
    total += now * load(c.weights + (taps - 1) * c.channels + i, count);
    store(x + i, silu(total), count);
  });
}

// How a memory is changed and read: read after S = keep S + k v^T, or before, or after - removed recalled^T besides.
enum Rule { ADD, READ_FIRST, REMOVE };

// One head of one row. A number by feature where `by_feature` is 1, and one for all where it is 0.
struct Memory {
  float *state;
  int64_t keys, columns, by_feature;
  const float *keep, *q, *k, *removed;
  float gain;
};

// WIDTH vectors of a head's values; `recalled` stands where o goes.
template <Rule RULE, int WIDTH>
INLINE void update(const Memory m, int64_t column, const float *v, float *o, int64_t count) {
  Vector values[WIDTH], lost[WIDTH], out[WIDTH] = {};
  for (int i = 0; i < WIDTH; ++i) {
    values[i] = load(v + i * LANES, count) * m.gain;
    if (RULE == REMOVE) lost[i] = load(o + i * LANES, count);
  }
  float *state = m.state + column;
  for (int64_t row = 0; row < m.keys; ++row, state += m.columns)
    for (int i = 0; i < WIDTH; ++i) {
      Vector s = load(state + i * LANES, count);
      if (RULE == READ_FIRST) out[i] += s * m.q[row];
      s = s * m.keep[row * m.by_feature];
      s += values[i] * m.k[row];
      if (RULE == REMOVE) s += lost[i] * -m.removed[row];
      store(state + i * LANES, s, count);
      if (RULE != READ_FIRST) out[i] += s * m.q[row];
    }
  for (int i = 0; i < WIDTH; ++i) store(o + i * LANES, out[i], count);
}

// `o` may lie where v lies.
template <Rule RULE>
static void attend(const Memory m, int64_t values, const float *v, float *o) {
  int64_t i = 0;
  for (; i + 2 * LANES <= values; i += 2 * LANES) update<RULE, 2>(m, i, v + i, o + i, LANES);
  for (; i + LANES <= values; i += LANES) update<RULE, 1>(m, i, v + i, o + i, LANES);
  if (i < values) update<RULE, 1>(m, i, v + i, o + i, values - i);
}

// The sum of what was read: q . z with z = keep z + k, the last column.
static float total(const Memory m) {
  float *sums = m.state + m.columns - 1, met = 0;
  for (int64_t row = 0; row < m.keys; ++row, sums += m.columns) {
    *sums = *sums * m.keep[row * m.by_feature] + m.k[row];
    met += *sums * m.q[row];
  }
  return met;
}

// o = S^T k.
static void recall(const Memory m, const float *k, int64_t values, float *o) {
  each(values, BODY {
    Vector recalled = {};
    for (int64_t row = 0; row < m.keys; ++row) recalled += load(m.state + row * m.columns + i, count) * k[row];
    store(o + i, recalled, count);
  });
}

// o += (q . weights k) v.
static void add_own(const Memory m, const float *weights, const float *v, int64_t values, float *o) {
  Vector met = {};
  each(m.keys, BODY { met += load(m.q + i, count) * load(weights + i, count) * load(m.k + i, count); });
  const float factor = sum(met);
  each(values, BODY { store(o + i, load(o + i, count) + load(v + i, count) * factor, count); });
}

// Norm by group, with the gate in front of it or behind, and what `own` adds in between.
template <class Own>
static void finish(const Mixing &m, const float *gate, float *o, Own own) {
  const int64_t whole = m.heads * m.values, size = m.norm_groups ? whole / m.norm_groups : whole;
  const auto gated = [&] {
    each(whole, BODY { store(o + i, load(o + i, count) * value(m.gate_function, load(gate + i, count)), count); });
  };
  if (gate && m.gate_first) gated();
  for (int64_t group = 0; group < m.norm_groups; ++group)
    normalise(o + group * size, size, m.norm_bias, (float)m.norm_eps, o + group * size);
  if (m.norm) each(whole, BODY { store(o + i, load(o + i, count) * load(m.norm + i, count), count); });
  if (m.norm_bias) each(whole, BODY { store(o + i, load(o + i, count) + load(m.norm_bias + i, count), count); });
  own();
  if (gate && !m.gate_first) gated();
}

// kk = k removal, of length 1, to `removed`; k (1 + (learning - 1) replacement); and learning kk.
static void replace(const Mixing &m, float *k, float *learning, float *removed) {
  const int64_t whole = m.heads * m.keys;
  each(whole, BODY { store(removed + i, load(k + i, count) * load(m.removal + i, count), count); });
  for (float *head = removed; head < removed + whole; head += m.keys) {
    const float length = sqrtf(squares(head, m.keys));
    scale(head, m.keys, 1 / (length < SHORTEST ? SHORTEST : length));
  }
  each(whole, BODY {
    const Vector rate = load(learning + i, count), own = (rate - all(1)) * load(m.replacement + i, count);
    store(k + i, load(k + i, count) * (own + all(1)), count);
    store(learning + i, rate * load(removed + i, count), count);
  });
}

// Features of queries and keys of every head, one after another, and what is kept of the memory.
static void favor(const Mixing &m, int64_t row, const float *q, const float *k, float *features, float *keep) {
  const int64_t width = m.features.inputs, wide = padded(m.keys), given = m.features.outputs;
  float *queries = features, *keys = features + m.heads * wide, *peak = m.peak + row * m.heads;
  multiply(q, width, m.heads, m.features, queries, wide, false);
  multiply(k, width, m.heads, m.features, keys, wide, false);
  for (int64_t h = 0; h < m.heads; ++h, k += width, queries += wide, keys += wide) {
    scale(queries, m.keys, 1 / featured(m.kernel, queries, given, m.keys).sum);
    const Exponentials e = featured(m.kernel, keys, given, m.keys);
    const double weight = m.kernel == RECTIFIED ? 0 : squares(k, width) / (-2 * sqrt((double)width));
    const float before = m.draw[row] ? peak[h] : -INFINITY;
    peak[h] = risen(before, e, weight);
    keep[h] = kept(before, peak[h]);
    scale(keys, m.keys, (float)exp(e.top + weight - peak[h]));
  }
  m.draw[row] = m.own_draw;
}

// What a row's projections are made into: queries and keys `wide` apart, learning kk in `removed`; and by head.
struct Row {
  float *q, *k, *v, *decay, *removed;
  int64_t wide;
  float *keep, *step, *beta, *kk;
};

// `first` has the values of the layer that relays them; `memory` has room for three numbers a head, and kk, or for
// features of queries and keys, by head in whole panels.
static Row prepare(const Mixing &m, int64_t row, float *y, float *first, float *memory) {
  Row r{y + m.q, y + m.k, y + m.v, y + m.decay, y + m.learning, m.keys, memory, memory + m.heads};
  r.beta = r.step + m.heads, r.kk = r.beta + m.heads;
  const int64_t whole = m.heads * m.values;
  if (m.residual >= 0) each(whole, BODY {
    const Vector own = load(r.v + i, count), share = load(y + m.residual + i, count);
    store(r.v + i, own + (load(first + i, count) - own) * share, count);
  });
  if (m.relays) memcpy(first, r.v, whole * sizeof(float));
  apply(m.map, r.q, m.groups, m.keys);
  apply(m.map, r.k, m.groups, m.keys);
  for (int64_t g = 0; m.unit && g < m.groups; ++g) {
    scale(r.q + g * m.keys, m.keys, 1 / sqrtf(squares(r.q + g * m.keys, m.keys) + UNIT));
    scale(r.k + g * m.keys, m.keys, 1 / sqrtf(squares(r.k + g * m.keys, m.keys) + UNIT));
  }
  if (m.frequencies) {
    turn(r.q, m.groups, m.keys, m.frequencies, m.position[row]);
    turn(r.k, m.groups, m.keys, m.frequencies, m.position[row]++);
  }
  if (m.scale != 1) scale(r.q, m.groups * m.keys, (float)m.scale);
  if (m.removal) replace(m, r.k, r.removed, r.kk);
  each(m.heads, BODY {
    Vector kept = m.constant ? load(m.constant + i, count) : all(1);
    if (m.step >= 0) {
      const Vector s = softplus(load(y + m.step + i, count) + load(m.step_bias + i, count));
      kept = exponential(load(m.rate + i, count) * s);
      store(r.step + i, s, count);
    }
    store(r.keep + i, kept, count);
    if (m.beta >= 0) store(r.beta + i, sigmoid(load(y + m.beta + i, count)) * (float)m.largest, count);
  });
  for (int64_t h = 0; m.decay >= 0 && h < m.heads; ++h) {
    float *decay = r.decay + h * m.keys;
    each(m.keys, BODY { store(decay + i, exponential(load(decay + i, count) * m.rate[h]), count); });
  }
  if (m.features.data) {
    r.wide = padded(m.keys);
    favor(m, row, r.q, r.k, r.kk, r.keep);
    r.q = r.kk, r.k = r.q + m.heads * r.wide;
  }
  return r;
}

static Memory memory_of(const Mixing &m, const Row &r, int64_t row, int64_t head) {
  const int64_t group = head / (m.heads / m.groups), columns = m.values + m.normalise;
  const bool by_feature = m.decay >= 0, gains = m.step >= 0 && m.beta < 0;
  return {m.state + (row * m.heads + head) * m.keys * columns, m.keys, columns, by_feature,
          by_feature ? r.decay + head * m.keys : r.keep + head, r.q + group * r.wide, r.k + group * r.wide,
          r.removed + head * m.keys, gains ? r.step[head] : 1};
}

// Values v of one head into its memory, and what is read to o.
static void read_and_write(const Mixing &m, const Row &r, const Memory &memory, int64_t head, const float *v,
                           float *o) {
  const float met = m.normalise ? total(memory) : 1;
  if (m.bonus) {
    attend<READ_FIRST>(memory, m.values, v, o);
    add_own(memory, m.bonus + head * m.keys, v, m.values, o);
  } else if (m.removal) {
    recall(memory, r.kk + head * m.keys, m.values, o);
    attend<REMOVE>(memory, m.values, v, o);
  } else if (m.beta >= 0) {
    recall(memory, memory.k, m.values, o);
    each(m.values, BODY {
      store(o + i, (load(v + i, count) + load(o + i, count) * -r.keep[head]) * r.beta[head], count);
    });
    attend<ADD>(memory, m.values, o, o);
  } else {
    attend<ADD>(memory, m.values, v, o);
  }
  if (m.features.data) scale(o, m.values, met <= LEAST ? 0 : 1 / met);
  else if (m.normalise) scale(o, m.values, 1 / (met < FLOOR ? FLOOR : met));
  if (m.skip) each(m.values, BODY { store(o + i, load(o + i, count) + load(v + i, count) * m.skip[head], count); });
}

// One row whose memory is a matrix by head: from its projections y, which are used up, to o (heads, values).
static void mix(const Mixing &m, int64_t row, float *y, float *o, float *first, float *memory) {
  const Row r = prepare(m, row, y, first, memory);
  for (int64_t h = 0; h < m.heads; ++h)
    read_and_write(m, r, memory_of(m, r, row, h), h, r.v + h * m.values, o + h * m.values);
  finish(m, m.gate >= 0 ? y + m.gate : nullptr, o, [&] {
    for (int64_t h = 0; m.own && h < m.heads; ++h)
      add_own(memory_of(m, r, row, h), m.own + h * m.keys, r.v + h * m.values, m.values, o + h * m.values);
  });
}

// One row of a selective scan.
static void scan(const Mixing &m, int64_t row, const float *y, float *o) {
  const float *x = y + m.v, *write = y + m.k, *read = y + m.q, *rates = m.rates;
  float *state = m.state + row * m.heads * m.keys;
  each(m.heads, BODY {
    store(o + i, softplus(load(y + m.step + i, count) + load(m.step_bias + i, count)), count);
  });
  for (int64_t c = 0; c < m.heads; ++c, state += m.keys, rates += m.keys) {
    const float step = o[c];
    Vector total = {};
    each(m.keys, BODY {
      Vector h = exponential(load(rates + i, count) * step) * load(state + i, count);
      h += load(write + i, count) * (step * x[c]);
      store(state + i, h, count);
      total += h * load(read + i, count);
    });
    o[c] = sum(total) + m.skip[c] * x[c];
  }
  finish(m, y + m.gate, o, [] {});
}

}  // namespace decode
}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
