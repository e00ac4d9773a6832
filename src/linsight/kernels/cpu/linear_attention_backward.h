// The gradients of linear attention: the recurrence of the forward with other rows in the places of q, k, v, and one
// from the end.
#pragma once

#include "linear_attention.h"

namespace linsight {
namespace LINSIGHT_LEVEL {

// Of the gradients, what all functions below share: first what heads have in common that take turns.
struct Adjoint {
  Head h;
  float *q, *k, *decay, *dk;  // STEPS rows of wide_k
  float *v, *dout, *dv;       // STEPS rows of wide_v
  float *through;             // wide_k
  float *state, *dstate;      // (wide_v, wide_k): of the forward and of the backward recurrence
  float *dstate_turned;       // (wide_k, wide_v)
  float *dbonus;              // wide_k
  float *dq;                  // STEPS rows of wide_k, or all steps' if the decay's gradient is asked for
  float *checkpoints;         // the state in every chunk's last step, if the decay's gradient is asked for

  Adjoint(const Head &h, int64_t index, float *memory) : h(h) {
    Scratch scratch{memory};
    float **keys[] = {&q, &k, &decay, &dk}, **values[] = {&v, &dout, &dv};
    float **states[] = {&state, &dstate, &dstate_turned};
    for (float **each : keys) *each = scratch.take(STEPS * h.wide_k);
    for (float **each : values) *each = scratch.take(STEPS * h.wide_v);
    through = scratch.take(h.wide_k);
    if (!h.x.ddecay) dq = scratch.take(STEPS * h.wide_k);
    scratch.take(index * (3 * h.wide_k * h.wide_v + h.wide_k));
    for (float **each : states) *each = scratch.take(h.wide_k * h.wide_v);
    dbonus = scratch.take(h.wide_k);
    if (h.x.ddecay) dq = scratch.take(h.steps * h.wide_k);
    checkpoints = scratch.next;
  }

  Adjoint(const Turn &turn, float *memory) : Adjoint(turn.h, turn.index, memory) {
    if (h.x.ddecay) dq += turn.first * h.wide_k;
  }

  float *checkpoint(int64_t chunk) const { return checkpoints + chunk * h.wide_k * h.wide_v; }
};

// The forward recurrence, and the state of the last step between its decay and what it writes.
static void pass_and_keep(const Pass &p, float *kept, int64_t rows) {
  pass<READ_ADD, BY_LANE>(part(p, 0, p.steps - 1));
  Pass last = part(p, p.steps - 1, 1);
  last.ahead = nullptr;
  for (int64_t row = 0; row < rows; ++row)
    each(p.wide, BODY {
      float *state = p.state + row * p.wide + i;
      store(state, load(state, count) * load(last.decay + i, count), count);
    });
  memcpy(kept, p.state, rows * p.wide * sizeof(float));
  pass<READ_ADD, NONE>(last);
}

// S_t . dS_t of every feature at the last step of a chunk, of what earlier tokens wrote and later ones read.
static void cross(const Adjoint &a, int64_t chunk) {
  const Head &h = a.h;
  const float *state = a.checkpoint(chunk);
  each(h.wide_k, BODY {
    Vector total = {};
    for (int64_t j = 0; j < h.columns; ++j)
      total += load(state + j * h.wide_k + i, count) * load(a.dstate + j * h.wide_k + i, count);
    store(a.through + i, total, count);
  });
}

// dg_t = X_t + q_t dq_t - k_t dk_t = X_(t-1), X_t = S_t . dS_t by feature. Without the pairs of a query and a key
// of one step, which cancel: they would leave their rounding errors where decay leaves little else. A chunk
// begins anew at its last step, X_t - k_t dk_t, so that the errors of a difference do not add up.
static void decay_gradient(const Adjoint &a, int64_t t, int64_t token, bool last) {
  const Head &h = a.h;
  const Attention &x = h.x;
  const int64_t at = t * h.wide_k;
  Vector total = {};
  each(x.keys, BODY {
    Vector g = load(a.through + i, count);
    g += load(a.q + at + i, count) * load(a.dq + at + i, count);
    if (!last) g += load(a.k + at + i, count) * load(a.dk + at + i, count) * -1.0f;
    g = where_not_zero(load(a.decay + at + i, count), g);
    store(a.through + i, g, count);
    if (x.by_feature && h.there(token)) store(x.ddecay + h.here(token) * x.keys + i, g, count);
    total += g;
  });
  if (!x.by_feature && h.there(token)) x.ddecay[h.here(token)] = sum(total);
}

// The gradient of a query or key where that of its feature is `gradient`.
INLINE void unpack_feature(const Head &h, void *to, const Rows &rows, int64_t token, int64_t i, Vector gradient,
                           int64_t count) {
  if (h.x.elu1) gradient = gradient * slope(read(rows.data, rows.half, h.at(rows, token) + i, count));
  write(to, rows.half, h.here(token) * h.x.keys + i, gradient, count);
}

// Of a token's own weight.
INLINE float own_gradient(const Head &h, const float *dout, int64_t token) {
  const Attention &x = h.x;
  const float *value = h.of(x.v, token);
  Vector total = {};
  each(x.values, BODY { total += load(dout + i, count) * load(value + i, count); });
  return (x.normalise ? dout[x.values] : 0) + sum(total);
}

// With the pair of the query and the key of its step, whose weight's gradient is a product of rows: of one key alone,
// whatever its weight, the gradient of a normalised sum is 0, which rounded products of the state would leave less so.
static void finish_query(const Adjoint &a, int64_t t, int64_t query) {
  const Head &h = a.h;
  const Attention &x = h.x;
  if (!h.there(query)) return;
  const float *dq = a.dq + t * h.wide_k, *k = a.k + t * h.wide_k, *dout = a.dout + t * h.wide_v;
  const float beside = dot(a.v + t * h.wide_v, dout, h.wide_v), own = x.bonus ? own_gradient(h, dout, query) : 0;
  each(x.keys, BODY {
    Vector g = load(dq + i, count) + load(k + i, count) * beside;
    if (x.bonus) g += load(h.of(x.k, query) + i, count) * load(x.bonus + h.head * x.keys + i, count) * own;
    unpack_feature(h, x.dq, x.q, query, i, g * (float)x.scale, count);
  });
}

static void finish_key(const Adjoint &a, int64_t t, int64_t key) {
  const Head &h = a.h;
  const Attention &x = h.x;
  if (!h.there(key)) return;
  const float *q = a.q + t * h.wide_k, *dout = a.dout + t * h.wide_v;
  const float *dk = a.dk + t * h.wide_k, *dv = a.dv + t * h.wide_v;
  const float weight = x.ddecay ? dot(q, a.k + t * h.wide_k, h.wide_k) : 0;
  const float beside = x.ddecay ? dot(a.v + t * h.wide_v, dout, h.wide_v) : 0;
  each(x.keys, BODY {
    Vector g = load(dk + i, count);
    if (x.ddecay) g += load(q + i, count) * beside;
    unpack_feature(h, x.dk, x.k, key, i, g, count);
  });
  each(x.values, BODY {
    Vector g = load(dv + i, count);
    if (x.ddecay) g += load(dout + i, count) * weight;
    write(x.dv, x.v.half, h.here(key) * x.values + i, g, count);
  });
}

// What a token's own weight adds to the gradients of its key and value, which are there already, and of the bonus.
static void finish_own(const Adjoint &a, int64_t t, int64_t token) {
  const Head &h = a.h;
  const Attention &x = h.x;
  const float *q = a.q + t * h.wide_k, *dout = a.dout + t * h.wide_v, *k = h.of(x.k, token);
  const float weight = own_weight(h, token), own = own_gradient(h, dout, token);
  float *dk = x.dk + h.here(token) * x.keys, *dv = x.dv + h.here(token) * x.values;
  each(x.values, BODY { store(dv + i, load(dv + i, count) + load(dout + i, count) * weight, count); });
  each(x.keys, BODY {
    const Vector query = load(q + i, count), bonus = load(x.bonus + h.head * x.keys + i, count);
    store(dk + i, load(dk + i, count) + query * bonus * own, count);
    store(a.dbonus + i, load(a.dbonus + i, count) + query * load(k + i, count) * own, count);
  });
}

// Where the decay's gradient is asked for, here too the pair of one step is kept apart.
template <Order together, Order apart, Decay decay>
static void pass(const Pass &p, const Attention &x) {
  if (x.ddecay) pass<apart, decay>(p, x.decay.data);
  else pass<together, decay>(p, x.decay.data);
}

// What both recurrences read of a chunk.
INLINE void read(const Adjoint &a, const Turn &turn) {
  const Attention &x = a.h.x;
  const int64_t key = turn.first - x.before;
  pack(a.k, a.h, x.k, key, turn.steps, x.keys, a.h.wide_k, 1, x.elu1);
  pack_decay(a.decay, a.h, key, turn.steps);
  pack_values(a.v, a.h, key, turn.steps);
  pack_gradients(a.dout, a.h, turn.first, turn.steps);
}

static void queries(const Adjoint &a, const Turn &turn) {
  const Head &h = a.h;
  const Attention &x = h.x;
  read(a, turn);
  Ahead ahead(h.tiles(h.columns, h.wide_k));
  turn.next.foresee_inputs(ahead, turn.then, true);
  turn.next.foresee(ahead, x.dq, x.q.half, turn.then, x.keys);
  const Pass p{a.dout, a.v, h.columns, h.wide_v, a.k, a.dq, h.wide_k, a.decay, a.state, turn.steps, &ahead};
  if (x.ddecay) pass_and_keep(p, a.checkpoint(turn.chunk), h.wide_v);
  else pass<READ_ADD, BY_LANE>(p, x.decay.data);
  for (int64_t t = 0; t < turn.steps; ++t) finish_query(a, t, turn.first + t);
}

static void keys_and_values(const Adjoint &a, const Turn &turn) {
  const Head &h = a.h;
  const Attention &x = h.x;
  read(a, turn);
  pack(a.q, h, x.q, turn.first, turn.steps, x.keys, h.wide_k, (float)x.scale, x.elu1);
  if (x.ddecay) cross(a, turn.chunk);
  Ahead ahead(h.tiles(h.columns, h.wide_k) + h.tiles(x.keys, h.wide_v));
  turn.next.foresee_inputs(ahead, turn.then, true);
  turn.next.foresee(ahead, x.dk, x.k.half, turn.then, x.keys);
  turn.next.foresee(ahead, x.dv, x.v.half, turn.then, x.values);
  const int64_t steps = turn.steps;
  pass<ADD_READ_BACK, READ_ADD_BACK, BY_LANE>(
      {a.v, a.dout, h.columns, h.wide_v, a.q, a.dk, h.wide_k, a.decay, a.dstate, steps, &ahead}, x);
  pass<ADD_READ_BACK, READ_ADD_BACK, BY_ROW>(
      {a.k, a.q, x.keys, h.wide_k, a.dout, a.dv, h.wide_v, a.decay, a.dstate_turned, steps, &ahead}, x);
  for (int64_t t = turn.steps - 1; t >= 0; --t) {
    const int64_t query = turn.first + t, key = query - x.before;
    if (x.ddecay) decay_gradient(a, t, key, t == turn.steps - 1);
    finish_key(a, t, key);
    if (x.bonus && h.there(query)) finish_own(a, t, query);
  }
}

static void backward(const Attention &x, int64_t begin, int64_t end, float *memory) {
  for (int64_t unit = begin; unit < end; ++unit) {
    const Adjoint a(Head(x, unit), unit - begin, memory);
    gather(a.state, x.state, a.h, true);
    gather(a.dstate, x.dfinal, a.h, true);
    gather(a.dstate_turned, x.dfinal, a.h, false);
    memset(a.dbonus, 0, a.h.wide_k * sizeof(float));
  }
  take_turns(x, begin, end, false, [&](const Turn &turn) { queries(Adjoint(turn, memory), turn); });
  take_turns(x, begin, end, true, [&](const Turn &turn) { keys_and_values(Adjoint(turn, memory), turn); });
  for (int64_t unit = begin; unit < end; ++unit) {
    const Adjoint a(Head(x, unit), unit - begin, memory);
    if (x.dstate) scatter(x.dstate, a.dstate_turned, a.h);
    if (x.dbonus) memcpy(x.dbonus + unit * x.keys, a.dbonus, x.keys * sizeof(float));
  }
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
