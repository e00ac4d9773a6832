// h_t = lambda h_(t-1) + x_t, complex numbers with parts side by side, every h returned, and the gradients.
// Some states of a row stay in registers while all tokens pass. With A = (re, re) and B = (-im, im) of lambda, lambda h
// is A h + B h', where h' has the parts exchanged. What rounding takes from lambda is put back as in diagonal_space.h.
#pragma once

#include "diagonal_space.h"

namespace linsight {

// What ops/diagonal hands over. Strides are in floats, and numbers of a token lie side by side. Null: not given.
struct Recurrence {
  int64_t batch, length, floats;   // two a state
  const float *x;
  int64_t x_row, x_token;
  const float *parameters;         // (4, floats): A and B of the decay, and of the factor less 1
  const float *state;              // (batch, floats)
  const int64_t *lengths;          // (batch)
  float *h, *final_state;
  const float *dh;
  int64_t dh_row, dh_token;
  const float *dfinal;
  float *dx, *dstate, *ddecay;     // (batch, 2, floats): lambda h times g, and times g'
};

namespace LINSIGHT_LEVEL {

constexpr int64_t VECTORS = 4;  // of a unit

INLINE Floats exchanged(Floats x) {
  Integers places;
  for (int i = 0; i < (int)SUB; ++i) places[i] = i ^ 1;
#if defined(__clang__)
  Floats y;
  for (int i = 0; i < (int)SUB; ++i) y[i] = x[i ^ 1];
  return y;
#else
  return __builtin_shuffle(x, places);
#endif
}

INLINE Vector exchanged(Vector x) {
  EACH x.part[i] = exchanged(x.part[i]);
  return x;
}

// Some states of a row.
struct States {
  const Recurrence &r;
  const int64_t row, first, count;
  int64_t length;

  static int64_t blocks(const Recurrence &r) { return (r.floats + VECTORS * LANES - 1) / (VECTORS * LANES); }

  States(const Recurrence &r, int64_t unit)
      : r(r), row(unit / blocks(r)), first(unit % blocks(r) * VECTORS * LANES),
        count(r.floats - first < VECTORS * LANES ? r.floats - first : VECTORS * LANES), length(r.length) {
    if (r.lengths && r.lengths[row] < length) length = r.lengths[row] > 0 ? r.lengths[row] : 0;
  }

  const float *x(int64_t t) const { return r.x + row * r.x_row + t * r.x_token + first; }
  int64_t here(int64_t t) const { return (row * r.length + t) * r.floats + first; }

  void take(Vector *to, const float *from) const {
    for (int64_t i = 0; i < VECTORS; ++i) to[i] = Vector{};
    if (from) each(count, BODY { to[i / LANES] = load(from + i, count); });
  }

  void give(float *to, const Vector *from) const {
    each(count, BODY { store(to + i, from[i / LANES], count); });
  }

  void parameter(Vector *to, int64_t which) const { take(to, r.parameters + which * r.floats + first); }

  void forward() const {
    Vector a[VECTORS], b[VECTORS], slip[VECTORS], turn[VECTORS], h[VECTORS];
    parameter(a, 0), parameter(b, 1), parameter(slip, 2), parameter(turn, 3);
    take(h, r.state ? r.state + row * r.floats + first : nullptr);
    for (int64_t t = 0; t < length; ++t) {
      if (t + 8 < length) each(count, BODY { __builtin_prefetch(x(t + 8) + i), (void)count; });
      each(count, BODY {
        Vector &s = h[i / LANES];
        s = a[i / LANES] * s + b[i / LANES] * exchanged(s) + load(x(t) + i, count);
        store(r.h + here(t) + i, s, count);
        if (t % SLIP == SLIP - 1) s += slip[i / LANES] * s + turn[i / LANES] * exchanged(s);
      });
    }
    const Vector none[VECTORS] = {};
    for (int64_t t = length; t < r.length; ++t) give(r.h + here(t), none);
    give(r.final_state + row * r.floats + first, h);
  }

  void backward() const {
    Vector a[VECTORS], b[VECTORS], slip[VECTORS], turn[VECTORS], g[VECTORS], same[VECTORS] = {}, other[VECTORS] = {};
    parameter(a, 0), parameter(b, 1), parameter(slip, 2), parameter(turn, 3);
    take(g, r.dfinal ? r.dfinal + row * r.floats + first : nullptr);
    const Vector none[VECTORS] = {};
    for (int64_t t = length; t < r.length; ++t) give(r.dx + here(t), none);
    for (int64_t t = length - 1; t >= 0; --t) {
      const float *before = t > 0 ? r.h + here(t - 1) : r.state ? r.state + row * r.floats + first : nullptr;
      const float *dh = r.dh + row * r.dh_row + t * r.dh_token + first;
      each(count, BODY {
        const int64_t v = i / LANES;
        // Conjugates: the sign of what is exchanged is the other one.
        if (t % SLIP == SLIP - 1) g[v] += slip[v] * g[v] + turn[v] * exchanged(g[v]) * -1.0f;
        g[v] += load(dh + i, count);
        store(r.dx + here(t) + i, g[v], count);
        const Vector turned = exchanged(g[v]);
        if (before) {
          const Vector h = load(before + i, count), passed = a[v] * h + b[v] * exchanged(h);
          same[v] += passed * g[v];
          other[v] += passed * turned;
        }
        g[v] = a[v] * g[v] + b[v] * turned * -1.0f;
      });
    }
    give(r.dstate + row * r.floats + first, g);
    give(r.ddecay + 2 * row * r.floats + first, same);
    give(r.ddecay + (2 * row + 1) * r.floats + first, other);
  }
};

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
