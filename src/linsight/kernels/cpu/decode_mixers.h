// A token through one mixer: what its projections say of the state, the update, the read, and what comes after.
#pragma once

#include "decode_products.h"

namespace linsight {
namespace decoding {

// y_t = bias + sum_i weights_i x_(t - taps + 1 + i), then silu, of some channels of a row.
struct Convolution {
  int64_t first, channels;
  const float *weights, *bias;  // (taps, channels), (channels,) or null
  float *inputs;                // (batch, taps - 1, channels), oldest first
};

// A memory (keys, values) by head, or with `rates` numbers (keys,) by channel. What a row's projections hold stands
// at these places; -1: not there. With s = softplus(step + step_bias):
//   keep = constant, or exp(rate s);  S = keep S + gain k v^T with gain s, or k (beta (v - keep S^T k))^T;
//   o = q^T S, over its sum where there is a normaliser, + skip v.
struct Mixing {
  int64_t q, k, v, gate, step, beta;
  int64_t heads, groups, keys, values, map, normalise, unit, taps, num_convolutions, norm_groups, gate_first;
  double scale, largest, norm_eps;                // of queries; of beta; of the norm by group
  const double *frequencies;                      // (keys / 2,) of rotary positions
  const float *constant, *rate, *step_bias, *skip, *norm;  // by head; the norm's weights (heads values,)
  Convolution convolutions[3];
  Matrix select, spread;                          // of a scan: to (rank, keys, keys), and from (rank,) to steps
  const float *rates;                             // of a scan: (channels, keys)
  float *state;                                   // (batch, heads, keys, values + normalise); (batch, channels, keys)
  int64_t *position;                              // (batch,)
};

}  // namespace decoding

namespace LINSIGHT_LEVEL {
namespace decode {

constexpr float FLOOR = 1e-6f, UNIT = 1e-6f;

enum Map { IDENTITY, ELU1, RELU, RELU2, SOFTMAX };

// max(x, 0) + log(1 + e), e = exp(-|x|): log(1 + e) = 2 artanh z with z = e / (2 + e) <= 1/3, by its series up to
// z^15, whose rest is 2e-8 of it.
INLINE Vector softplus(Vector x) {
  Vector away;
  EACH away.part[i] = x.part[i] < 0 ? x.part[i] : -x.part[i];
  const Vector e = exponential(away);
  EACH {
    const Floats z = e.part[i] / (2 + e.part[i]), w = z * z;
    Floats p = w * (1.0f / 15) + 1.0f / 13;
    p = p * w + 1.0f / 11;
    p = p * w + 1.0f / 9;
    p = p * w + 1.0f / 7;
    p = p * w + 1.0f / 5;
    p = p * w + 1.0f / 3;
    p = p * w + 1.0f;
    x.part[i] = (x.part[i] > 0 ? x.part[i] : Floats{}) + 2 * z * p;
  }
  return x;
}

INLINE float squares(const float *x, int64_t size) {
  Vector total = {};
  each(size, BODY {
    const Vector part = load(x + i, count);
    total += part * part;
  });
  return sum(total);
}

INLINE void scale(float *x, int64_t size, float factor) {
  each(size, BODY { store(x + i, load(x + i, count) * factor, count); });
}

INLINE Vector mapped(Vector x, int64_t map) {
  Vector y;
  if (map == ELU1) {
    const Vector e = exponential(x);
    EACH y.part[i] = x.part[i] > 0 ? x.part[i] + 1 : e.part[i];
    return y;
  }
  EACH y.part[i] = x.part[i] < 0 ? Floats{} : x.part[i];
  return map == RELU2 ? y * y : y;
}

static void softmax(float *x, int64_t size) {
  float top = x[0], total = 0;
  for (int64_t i = 1; i < size; ++i) top = x[i] > top || x[i] != x[i] ? x[i] : top;
  each(size, BODY { store(x + i, exponential(load(x + i, count) + all(-top)), count); });
  for (int64_t i = 0; i < size; ++i) total += x[i];
  scale(x, size, 1 / total);
}

static void apply(int64_t map, float *x, int64_t heads, int64_t size) {
  if (map == SOFTMAX)
    for (int64_t h = 0; h < heads; ++h) softmax(x + h * size, size);
  else if (map != IDENTITY)
    each(heads * size, BODY { store(x + i, mapped(load(x + i, count), map), count); });
}

// Pairs (i, i + keys / 2) of every head by the angle place * frequency, which float32 would get wrong by 1e-5.
static void turn(float *x, int64_t heads, int64_t keys, const double *frequencies, int64_t place) {
  const int64_t half = keys / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double angle = place * frequencies[i];
    const float c = (float)cos(angle), s = (float)sin(angle);
    for (int64_t h = 0; h < heads; ++h) {
      float *first = x + h * keys + i, *second = first + half;
      const float a = *first, b = *second;
      *first = a * c - b * s;
      *second = a * s + b * c;
    }
  }
}

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

// S = keep S + k v^T, o = q^T S for WIDTH vectors of a head's values.
template <int WIDTH>
INLINE void update(float *state, int64_t columns, int64_t keys, float keep, float gain, const float *q, const float *k,
                   const float *v, float *o, int64_t count) {
  Vector values[WIDTH], out[WIDTH] = {};
  for (int i = 0; i < WIDTH; ++i) values[i] = load(v + i * LANES, count) * gain;
  for (int64_t row = 0; row < keys; ++row, state += columns)
    for (int i = 0; i < WIDTH; ++i) {
      Vector s = load(state + i * LANES, count) * keep;
      s += values[i] * k[row];
      store(state + i * LANES, s, count);
      out[i] += s * q[row];
    }
  for (int i = 0; i < WIDTH; ++i) store(o + i * LANES, out[i], count);
}

// One head of one row; `o` may lie where v lies.
static void attend(const Mixing &m, float *state, float keep, float gain, const float *q, const float *k,
                   const float *v, float *o) {
  const int64_t columns = m.values + m.normalise;
  float denominator = 0;
  if (m.normalise) {
    float *sums = state + m.values;
    for (int64_t row = 0; row < m.keys; ++row, sums += columns) {
      *sums = *sums * keep + k[row];
      denominator += *sums * q[row];
    }
    denominator = denominator < FLOOR ? FLOOR : denominator;
  }
  int64_t i = 0;
  for (; i + 2 * LANES <= m.values; i += 2 * LANES)
    update<2>(state + i, columns, m.keys, keep, gain, q, k, v + i, o + i, LANES);
  for (; i + LANES <= m.values; i += LANES)
    update<1>(state + i, columns, m.keys, keep, gain, q, k, v + i, o + i, LANES);
  if (i < m.values) update<1>(state + i, columns, m.keys, keep, gain, q, k, v + i, o + i, m.values - i);
  if (m.normalise) scale(o, m.values, 1 / denominator);
}

// o = beta (v - keep S^T k).
static void correct(const Mixing &m, const float *state, float keep, float beta, const float *k, const float *v,
                    float *o) {
  each(m.values, BODY {
    Vector recalled = {};
    for (int64_t row = 0; row < m.keys; ++row) recalled += load(state + row * m.values + i, count) * k[row];
    store(o + i, (load(v + i, count) + recalled * -keep) * beta, count);
  });
}

// Norm by group, with the gate in front of it or behind.
static void finish(const Mixing &m, const float *gate, float *o) {
  const int64_t whole = m.heads * m.values, size = m.norm_groups ? whole / m.norm_groups : whole;
  const auto gated = [&] {
    each(whole, BODY { store(o + i, load(o + i, count) * silu(load(gate + i, count)), count); });
  };
  if (gate && m.gate_first) gated();
  for (int64_t group = 0; group < m.norm_groups; ++group)
    scale(o + group * size, size, 1 / sqrtf(squares(o + group * size, size) / size + (float)m.norm_eps));
  if (m.norm) each(whole, BODY { store(o + i, load(o + i, count) * load(m.norm + i, count), count); });
  if (gate && !m.gate_first) gated();
}

// One row whose memory is a matrix by head: from its projections y, which are used up, to o (heads, values).
// `memory` has room for three numbers a head.
static void mix(const Mixing &m, int64_t row, float *y, float *o, float *memory) {
  float *q = y + m.q, *k = y + m.k, *v = y + m.v, *keep = memory, *step = keep + m.heads, *beta = step + m.heads;
  for (int64_t i = 0; i < m.num_convolutions; ++i) convolve(m.convolutions[i], m.taps, row, y);
  apply(m.map, q, m.groups, m.keys);
  apply(m.map, k, m.groups, m.keys);
  for (int64_t g = 0; m.unit && g < m.groups; ++g) {
    scale(q + g * m.keys, m.keys, 1 / sqrtf(squares(q + g * m.keys, m.keys) + UNIT));
    scale(k + g * m.keys, m.keys, 1 / sqrtf(squares(k + g * m.keys, m.keys) + UNIT));
  }
  if (m.frequencies) {
    turn(q, m.groups, m.keys, m.frequencies, m.position[row]);
    turn(k, m.groups, m.keys, m.frequencies, m.position[row]++);
  }
  if (m.scale != 1) scale(q, m.groups * m.keys, (float)m.scale);
  each(m.heads, BODY {
    Vector kept = m.constant ? load(m.constant + i, count) : all(1);
    if (m.step >= 0) {
      const Vector s = softplus(load(y + m.step + i, count) + load(m.step_bias + i, count));
      kept = exponential(load(m.rate + i, count) * s);
      store(step + i, s, count);
    }
    store(keep + i, kept, count);
    if (m.beta >= 0) store(beta + i, sigmoid(load(y + m.beta + i, count)) * (float)m.largest, count);
  });
  const int64_t together = m.heads / m.groups, columns = m.values + m.normalise;
  float *state = m.state + row * m.heads * m.keys * columns;
  for (int64_t h = 0; h < m.heads; ++h, state += m.keys * columns) {
    const float *query = q + h / together * m.keys, *key = k + h / together * m.keys, *value = v + h * m.values;
    float *out = o + h * m.values, gain = 1;
    if (m.beta >= 0) correct(m, state, keep[h], beta[h], key, value, out);
    else if (m.step >= 0) gain = step[h];
    attend(m, state, keep[h], gain, query, key, m.beta >= 0 ? out : value, out);
    if (m.skip) each(m.values, BODY {
      store(out + i, load(out + i, count) + load(value + i, count) * m.skip[h], count);
    });
  }
  finish(m, m.gate >= 0 ? y + m.gate : nullptr, o);
}

// One row of a selective scan: channels x at m.v, B and C in `selected`, steps before the softplus; o may be them.
static void scan(const Mixing &m, int64_t row, const float *y, const float *selected, const float *steps, float *o) {
  const float *x = y + m.v, *write = selected + m.k, *read = selected + m.q, *rates = m.rates;
  float *state = m.state + row * m.heads * m.keys;
  each(m.heads, BODY {
    store(o + i, softplus(load(steps + i, count) + load(m.step_bias + i, count)), count);
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
  finish(m, y + m.gate, o);
}

}  // namespace decode
}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
