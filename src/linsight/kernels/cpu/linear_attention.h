// S_t = diag(exp g_t) S_(t-1) + k_t v_t^T, o_t = q_t^T S_t, and its gradients.
// A tile of the state stays in registers while some tokens pass: two products and no more an element and token,
// where blocks of similarities would take a third, and every decay is a factor that is at most 1. Each gradient
// is the same recurrence with other rows in the places of q, k, v:
//   dq_t = S_t do_t,   dS_t = q_t do_t^T + diag(exp g_(t+1)) dS_(t+1),   dk_t = dS_t v_t,   dv_t = dS_t^T k_t.
// Reading before the update is reading after it with the queries of the next token: step s of such a row pairs
// query s with key s - 1, from the query without a key to the key without a query.
#pragma once

#include "bfloat16.h"
#include "passes.h"

namespace linsight {

// Numbers of a token and head lie side by side; strides of the others are in numbers, which are floats or, by half,
// bfloat16. Null: not given.
struct Rows {
  const void *data;
  int64_t row, token, head, half;
};

// What ops/linear hands over.
struct Attention {
  int64_t batch, length, heads, keys, values;
  int64_t before, normalise, by_feature;  // by_feature: the decay is one number a key's feature
  int64_t together;                       // heads that take turns; 1 for the gradient of a decay
  int64_t elu1;                           // q and k are elu(.) + 1 of what is given; with no bonus
  double scale;
  Rows q, k, v, decay, dout;
  const float *bonus, *state, *dfinal;     // (heads, keys), (batch, heads, keys, values + normalise) twice
  float *o, *final_state, *denominators;   // (batch, length, heads, values), as state, (batch, length, heads)
  float *dq, *dk, *dv, *dstate, *dbonus;   // as q, k, v, state; (batch, heads, keys); these three and o by half too
  float *ddecay;                           // (batch, length, heads, keys or 1)
};

namespace LINSIGHT_LEVEL {

constexpr float FLOOR = 1e-6f;

// One head of one row, as steps.
struct Head {
  const Attention &x;
  int64_t row, head;
  int64_t columns, wide_k, wide_v, steps;

  Head(const Attention &x, int64_t unit)
      : x(x), row(unit / x.heads), head(unit % x.heads), columns(x.values + x.normalise),
        wide_k(padded(x.keys)), wide_v(padded(columns)), steps(x.length + x.before) {}

  bool there(int64_t token) const { return token >= 0 && token < x.length; }
  int64_t at(const Rows &rows, int64_t token) const {
    return row * rows.row + token * rows.token + head * rows.head;
  }
  const float *of(const Rows &rows, int64_t token) const { return (const float *)rows.data + at(rows, token); }
  int64_t here(int64_t token) const { return (row * x.length + token) * x.heads + head; }
  // Of a pass over a state of these rows and lanes.
  static int64_t tiles(int64_t rows, int64_t wide) {
    return (rows + ROWS - 1) / ROWS * ((wide + 2 * FLOATS - 1) / (2 * FLOATS));
  }
  void foresee(Ahead &ahead, const Rows &rows, int64_t token, int64_t size) const {
    ahead.add(rows.data, at(rows, token), rows.token, size, rows.half ? 2 : 4);
  }
  void foresee_inputs(Ahead &ahead, int64_t token, bool backward) const {
    foresee(ahead, x.q, token, x.keys);
    foresee(ahead, x.k, token, x.keys);
    foresee(ahead, x.v, token, x.values);
    if (backward) foresee(ahead, x.dout, token, x.values);
  }
  void foresee(Ahead &ahead, const void *dense, bool half, int64_t token, int64_t size) const {
    ahead.add(dense, here(token) * size, x.heads * size, size, half ? 2 : 4);
  }
  int64_t chunks() const { return (steps + STEPS - 1) / STEPS; }
  int64_t of_chunk(int64_t chunk) const { return steps - chunk * STEPS < STEPS ? steps - chunk * STEPS : STEPS; }
};

INLINE Vector read(const void *from, bool half, int64_t at, int64_t count) {
  return half ? load((const uint16_t *)from + at, count) : load((const float *)from + at, count);
}

INLINE void write(void *to, bool half, int64_t at, Vector v, int64_t count) {
  half ? store((uint16_t *)to + at, v, count) : store((float *)to + at, v, count);
}

// elu(x) + 1 = e^min(x, 0) + max(x, 0), the first of which is its slope. NaN is below 0, and stays.
INLINE Vector slope(Vector x) {
  EACH x.part[i] = 0.0f < x.part[i] ? Floats{} : x.part[i];
  return exponential(x);
}

INLINE Vector elu1(Vector x) { return slope(x) + larger(x, all(0)); }

// Tokens from `first` on into rows of `wide` floats, 0 beyond `size` and where there is no token.
static void pack(float *to, const Head &h, const Rows &rows, int64_t first, int64_t steps, int64_t size,
                 int64_t wide, float scale = 1, bool mapped = false) {
  for (int64_t t = 0; t < steps; ++t, to += wide) {
    const bool there = h.there(first + t);
    if (!there || size % LANES || size < wide) memset(to, 0, wide * sizeof(float));
    if (!there) continue;
    const int64_t from = h.at(rows, first + t);
    each(size, BODY {
      const Vector x = read(rows.data, rows.half, from + i, count);
      store(to + i, (mapped ? elu1(x) : x) * scale, count);
    });
  }
}

static void pack_values(float *to, const Head &h, int64_t first, int64_t steps) {
  pack(to, h, h.x.v, first, steps, h.x.values, h.wide_v);
  if (h.x.normalise)
    for (int64_t t = 0; t < steps; ++t) to[t * h.wide_v + h.x.values] = h.there(first + t);
}

// What is left of the state after each token: 1 where there is none.
static void pack_decay(float *to, const Head &h, int64_t first, int64_t steps) {
  if (!h.x.decay.data) return;
  // A constant decay is rounded the same way at every token: what rounding leaves goes to the next one.
  double left = 0;
  for (int64_t t = 0; t < steps; ++t, to += h.wide_k) {
    const float *g = h.there(first + t) ? h.of(h.x.decay, first + t) : nullptr;
    if (g && h.x.by_feature) {
      each(h.x.keys, BODY { store(to + i, exponential(load(g + i, count)), LANES); });
      continue;
    }
    const double keep = g ? exp((double)*g) * (1 + left) : 1;
    const float rounded = (float)keep;
    left = g && rounded > 0 ? keep / rounded - 1 : left;
    each(h.wide_k, BODY { store(to + i, all(rounded), count); });
  }
}

INLINE float dot(const float *a, const float *b, int64_t wide) {
  Vector total = {};
  each(wide, BODY { total += load(a + i, count) * load(b + i, count); });
  return sum(total);
}

// Gradients at what is read before it is divided. With o = n / d: dn = do / d, and dd = -do . o / d.
static void pack_gradients(float *to, const Head &h, int64_t first, int64_t steps) {
  const Attention &x = h.x;
  pack(to, h, x.dout, first, steps, x.values, h.wide_v);
  if (!x.normalise) return;
  for (int64_t t = 0; t < steps; ++t, to += h.wide_v) {
    if (!h.there(first + t)) continue;
    const int64_t here = h.here(first + t);
    const float denominator = x.denominators[here];
    Vector total = {};
    each(x.values, BODY {
      const Vector divided = load(to + i, count) * (1 / denominator);
      total += divided * read(x.o, x.v.half, here * x.values + i, count);
      store(to + i, divided, count);
    });
    to[x.values] = denominator > FLOOR ? -sum(total) : 0;
  }
}

// (keys, columns) of memory, of rows that are `spare` longer, to a padded state, and back; or to its transpose.
static void gather(float *state, const float *from, const Head &h, bool transposed, int64_t spare = 0) {
  const int64_t wide = transposed ? h.wide_k : h.wide_v, stride = h.columns + spare;
  memset(state, 0, h.wide_k * h.wide_v * sizeof(float));
  if (!from) return;
  from += (h.row * h.x.heads + h.head) * h.x.keys * stride;
  for (int64_t i = 0; i < h.x.keys; ++i)
    for (int64_t j = 0; j < h.columns; ++j) state[transposed ? j * wide + i : i * wide + j] = from[i * stride + j];
}

static void scatter(float *to, const float *state, const Head &h, int64_t spare = 0) {
  const int64_t stride = h.columns + spare;
  to += (h.row * h.x.heads + h.head) * h.x.keys * stride;
  for (int64_t i = 0; i < h.x.keys; ++i) memcpy(to + i * stride, state + i * h.wide_v, h.columns * sizeof(float));
}

// scale * sum q bonus k, the weight of a token's own value.
INLINE float own_weight(const Head &h, int64_t token) {
  const Attention &x = h.x;
  const float *q = h.of(x.q, token), *k = h.of(x.k, token), *bonus = x.bonus + h.head * x.keys;
  Vector total = {};
  each(x.keys, BODY { total += load(q + i, count) * load(k + i, count) * load(bonus + i, count); });
  return sum(total) * (float)x.scale;
}

static void unpack_outputs(const Head &h, float *out, int64_t first, int64_t steps) {
  const Attention &x = h.x;
  for (int64_t t = 0; t < steps; ++t, out += h.wide_v) {
    const int64_t token = first + t, here = h.here(token);
    if (!h.there(token)) continue;
    const float own = x.bonus ? own_weight(h, token) : 0;
    float factor = 1;
    if (x.normalise) {
      const float denominator = out[x.values] + own;
      x.denominators[here] = denominator < FLOOR ? FLOOR : denominator;
      factor = 1 / x.denominators[here];
    }
    const float *value = x.bonus ? h.of(x.v, token) : nullptr;
    each(x.values, BODY {
      Vector o = load(out + i, count);
      if (value) o += load(value + i, count) * own;
      write(x.o, x.v.half, here * x.values + i, o * factor, count);
    });
  }
}

// Memory of a call, piece by piece.
struct Scratch {
  float *next;
  float *take(int64_t floats) {
    float *here = next;
    next += floats;
    return here;
  }
};

// A chunk of a head, and whose turn is next, from which token on.
struct Turn {
  int64_t index, chunk, first, steps;
  Head h, next;
  int64_t then;
};

// Heads `begin` to `end` of a row take turns chunk by chunk, from the first or the last: what they read of a token lies
// side by side.
template <class Body>
static void take_turns(const Attention &x, int64_t begin, int64_t end, bool back, Body body) {
  const Head one(x, begin);
  for (int64_t i = 0; i < one.chunks(); ++i)
    for (int64_t unit = begin; unit < end; ++unit) {
      const bool last = unit + 1 == end;
      const int64_t chunk = back ? one.chunks() - 1 - i : i, first = chunk * STEPS;
      const Head h(x, unit), next(x, last ? begin : unit + 1);
      const int64_t then = !last ? first : back ? first - STEPS : first + STEPS;
      body(Turn{unit - begin, chunk, first, one.of_chunk(chunk), h, next, then});
    }
}

static void forward(const Attention &x, int64_t begin, int64_t end, float *memory) {
  const Head one(x, begin);
  const int64_t size = one.wide_k * one.wide_v;
  Scratch scratch{memory};
  float *q = scratch.take(STEPS * one.wide_k), *k = scratch.take(STEPS * one.wide_k);
  float *decay = scratch.take(STEPS * one.wide_k);
  float *v = scratch.take(STEPS * one.wide_v), *out = scratch.take(STEPS * one.wide_v);
  float *states = scratch.take((end - begin) * size);
  for (int64_t unit = begin; unit < end; ++unit) gather(states + (unit - begin) * size, x.state, Head(x, unit), false);
  take_turns(x, begin, end, false, [&](const Turn &turn) {
    const Head &h = turn.h;
    pack(q, h, x.q, turn.first, turn.steps, x.keys, h.wide_k, (float)x.scale, x.elu1);
    pack(k, h, x.k, turn.first - x.before, turn.steps, x.keys, h.wide_k, 1, x.elu1);
    pack_decay(decay, h, turn.first - x.before, turn.steps);
    pack_values(v, h, turn.first - x.before, turn.steps);
    Ahead ahead(h.tiles(x.keys, h.wide_v));
    turn.next.foresee_inputs(ahead, turn.then, false);
    turn.next.foresee(ahead, x.o, x.v.half, turn.then, x.values);
    float *state = states + turn.index * size;
    const Pass p{q, k, x.keys, h.wide_k, v, out, h.wide_v, decay, state, turn.steps, &ahead};
    pass<ADD_READ, BY_ROW>(p, x.decay.data);
    unpack_outputs(h, out, turn.first, turn.steps);
  });
  for (int64_t unit = begin; unit < end; ++unit) scatter(x.final_state, states + (unit - begin) * size, Head(x, unit));
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
