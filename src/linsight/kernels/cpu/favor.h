// Attention to keys exp(k_t + u_t) of any size, given as logarithms, relative to the largest sum of one so far:
//   w_t = u_t + log sum exp k_t,   c_t = max(c_(t-1), w_t),   K_t = exp(k_t + u_t - c_t),   Q_t = exp(q_t - max q_t)
//   [S_t, z_t] = exp(c_(t-1) - c_t) [S_(t-1), z_(t-1)] + K_t [v_t, 1]^T,   o_t = S_t^T Q_t / (z_t . Q_t)
// and its gradients, as in linear_attention.h. z goes beside S, which with one column more would be padded by fifteen.
// c rises seldom, and where it rests nothing decays. The backward makes features again.
// o depends on no c_t, since it divides what share them. What does are the states: dc_0 = S_0 . dS_0 by what they are
// relative to, and -S_T . dS_T, which belongs to the token of the last rise, whose w is c_T, or else to c_0.
#pragma once

#include "exponentials.h"
#include "linear_attention.h"

namespace linsight {

// What ops/linear hands over: an attention without decay whose q and k are logarithms, whose dq and dk lie as
// (batch, heads, length, keys), whose states have z as one column more, and whose denominators are 1 / (z_t . Q_t),
// or 0 where a query meets no key.
struct Favor {
  Attention x;
  Rows weights;                      // u
  const float *peak, *dfinal_peak;   // c_0 and the gradient of c_T: (batch, heads)
  float *peaks, *final_peak;         // c: (batch, length, heads); (batch, heads)
  float *dweights, *dpeak;           // as they
};

namespace LINSIGHT_LEVEL {

// One head of one row, and a chunk of its tokens.
struct Features {
  const Favor &f;
  const Attention &x;
  Head h;
  int64_t unit;
  float *q, *k, *dlogs;               // STEPS rows of wide_k: Q, K, and the gradient of one of them
  float *v, *out, *dout;              // STEPS rows of wide_v; in the backward, out is dv
  float *sums, *decay, *below;        // STEPS: of Q; exp(c_(t-1) - c_t); gradients of z_t . Q_t
  float *z, *dz;                      // wide_k
  float *state, *turned, *dturned;    // (wide_k, wide_v), (wide_v, wide_k) twice; in the backward, state is dS

  Features(const Favor &f, int64_t unit, float *memory) : f(f), x(f.x), h(f.x, unit), unit(unit) {
    Scratch scratch{memory};
    float **keys[] = {&q, &k, &dlogs}, **values[] = {&v, &out, &dout};
    float **steps[] = {&sums, &decay, &below}, **features[] = {&z, &dz}, **states[] = {&state, &turned, &dturned};
    for (float **each : keys) *each = scratch.take(STEPS * h.wide_k);
    for (float **each : values) *each = scratch.take(STEPS * h.wide_v);
    for (float **each : steps) *each = scratch.take(STEPS);
    for (float **each : features) *each = scratch.take(h.wide_k);
    for (float **each : states) *each = scratch.take(h.wide_k * h.wide_v);
  }

  // z of memory, and back.
  void gather_sums(float *to, const float *from) const {
    const int64_t stride = x.values + 1;
    memset(to, 0, h.wide_k * sizeof(float));
    if (!from) return;
    for (int64_t i = 0; i < x.keys; ++i) to[i] = from[(unit * x.keys + i) * stride + x.values];
  }
  void scatter_sums(float *to, const float *from) const {
    const int64_t stride = x.values + 1;
    for (int64_t i = 0; i < x.keys; ++i) to[(unit * x.keys + i) * stride + x.values] = from[i];
  }

  float peak_before(int64_t token) const { return token ? f.peaks[h.here(token - 1)] : f.peak[unit]; }

  // The token of the last rise of c, or -1.
  int64_t last_rise() const {
    int64_t token = x.length - 1;
    while (token >= 0 && f.peaks[h.here(token)] == peak_before(token)) --token;
    return token;
  }

  // Q, K and v of some tokens; c is found, or known since the forward.
  void read(int64_t first, int64_t steps, bool known) {
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t token = first + t;
      float *key = k + t * h.wide_k, &peak = f.peaks[h.here(token)];
      sums[t] = exponentials(q + t * h.wide_k, h.of(x.q, token), x.keys).sum;
      const Exponentials e = exponentials(key, h.of(x.k, token), x.keys);
      const float before = peak_before(token);
      const double weight = *h.of(f.weights, token);
      if (!known) peak = risen(before, e, weight);
      decay[t] = kept(before, peak);
      const float share = (float)exp(e.top + weight - peak);
      each(h.wide_k, BODY { store(key + i, load(key + i, count) * share, count); });
    }
    pack(v, h, x.v, first, steps, x.values, h.wide_v);
  }

  // z of a step in the place of that of the step before.
  void add_sums(int64_t t) {
    each(h.wide_k, BODY { store(z + i, load(z + i, count) * decay[t] + load(k + t * h.wide_k + i, count), count); });
  }

  void forward() {
    gather(state, x.state, h, false, 1);
    gather_sums(z, x.state);
    for (int64_t chunk = 0; chunk < h.chunks(); ++chunk) {
      const int64_t first = chunk * STEPS, steps = h.of_chunk(chunk);
      read(first, steps, false);
      Ahead ahead(h.tiles(x.keys, h.wide_v));
      h.foresee_inputs(ahead, first + STEPS, false);
      h.foresee(ahead, x.o, false, first + STEPS, x.values);
      pass<ADD_READ, BY_STEP>({q, k, x.keys, h.wide_k, v, out, h.wide_v, decay, state, steps, &ahead});
      for (int64_t t = 0; t < steps; ++t) {
        add_sums(t);
        const int64_t here = h.here(first + t);
        const float met = dot(z, q + t * h.wide_k, h.wide_k), factor = met <= LEAST * sums[t] ? 0 : 1 / met;
        x.denominators[here] = factor;
        const float *from = out + t * h.wide_v;
        each(x.values, BODY { store(x.o + here * x.values + i, load(from + i, count) * factor, count); });
      }
    }
    scatter(x.final_state, state, h, 1);
    scatter_sums(x.final_state, z);
    f.final_peak[unit] = peak_before(x.length);
  }

  // With o = n / d: dn = do / d, and dd = -do . o / d.
  void read_gradients(int64_t first, int64_t steps) {
    pack(dout, h, x.dout, first, steps, x.values, h.wide_v);
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t here = h.here(first + t);
      const float factor = x.denominators[here];
      float *gradient = dout + t * h.wide_v;
      Vector total = {};
      each(x.values, BODY {
        const Vector divided = load(gradient + i, count) * factor;
        total += divided * load(x.o + here * x.values + i, count);
        store(gradient + i, divided, count);
      });
      below[t] = -sum(total);
    }
  }

  float *logs(float *gradients, int64_t token) const { return gradients + (unit * x.length + token) * x.keys; }

  void backward() {
    gather(turned, x.state, h, true, 1);
    gather_sums(z, x.state);
    for (int64_t chunk = 0; chunk < h.chunks(); ++chunk) {
      const int64_t first = chunk * STEPS, steps = h.of_chunk(chunk);
      read(first, steps, true);
      read_gradients(first, steps);
      pass<ADD_READ, BY_STEP>({dout, v, x.values, h.wide_v, k, dlogs, h.wide_k, decay, turned, steps});
      for (int64_t t = 0; t < steps; ++t) {
        add_sums(t);
        const int64_t at = t * h.wide_k;
        float *to = logs(x.dq, first + t);
        each(x.keys, BODY {
          const Vector g = load(dlogs + at + i, count) + load(z + i, count) * below[t];
          store(to + i, g * load(q + at + i, count), count);
        });
      }
    }
    gather(state, x.dfinal, h, false, 1);
    gather(dturned, x.dfinal, h, true, 1);
    gather_sums(dz, x.dfinal);
    const float owed = (f.dfinal_peak ? f.dfinal_peak[unit] : 0) - relative_to_peak();
    const int64_t rise = last_rise();
    for (int64_t chunk = h.chunks() - 1; chunk >= 0; --chunk) {
      const int64_t first = chunk * STEPS, steps = h.of_chunk(chunk);
      read(first, steps, true);
      read_gradients(first, steps);
      pass<ADD_READ_BACK, BY_STEP>({v, dout, x.values, h.wide_v, q, dlogs, h.wide_k, decay, dturned, steps});
      pass<ADD_READ_BACK, BY_STEP>({k, q, x.keys, h.wide_k, dout, out, h.wide_v, decay, state, steps});
      for (int64_t t = steps - 1; t >= 0; --t) finish_key(t, first + t, first + t == rise ? owed : 0);
    }
    scatter(x.dstate, state, h, 1);
    scatter_sums(x.dstate, dz);
    gather(turned, x.state, h, true, 1);
    gather_sums(z, x.state);
    f.dpeak[unit] = relative_to_peak() + (rise < 0 ? owed : 0);
  }

  // S . dS, with the sums.
  float relative_to_peak() const {
    return dot(turned, dturned, h.wide_v * h.wide_k) + dot(z, dz, h.wide_k);
  }

  // Gradients of the logarithms, weight and value of a key, to each of which `more` is added as K is to c.
  void finish_key(int64_t t, int64_t token, float more) {
    const int64_t at = t * h.wide_k, here = h.here(token);
    float *to = logs(x.dk, token);
    Vector total = {};
    each(x.keys, BODY {
      const Vector through = load(dz + i, count) + load(q + at + i, count) * below[t];
      const Vector g = load(k + at + i, count) * (load(dlogs + at + i, count) + through + all(more));
      store(dz + i, through * decay[t], count);
      store(to + i, g, count);
      total += g;
    });
    f.dweights[here] = sum(total);
    memcpy(x.dv + here * x.values, out + t * h.wide_v, x.values * sizeof(float));
  }
};

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
