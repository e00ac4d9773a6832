// S_t = diag(exp g_t) S_(t-1) + b_t u_t^T + k_t v_t^T with u_t = S_(t-1)^T a_t, o_t = q_t^T S_t, and its gradients.
// The rule itself has a = exp(g) k and b = -beta k, and writes once: k_t e_t^T with e_t = beta_t (v_t - u_t).
// Columns of the state go apart, and u is a sum over rows: some columns of all rows stay in the first-level cache, and
// one sweep over them a token decays, writes, reads with q, and reads u of the next token. The gradient G of the
// state is such a recurrence from the end, with du_t = G_t^T b_t:
//   G_t = q_t do_t^T + diag(exp g_(t+1)) G_(t+1) + a_(t+1) du_(t+1)^T,   dv_t = G_t^T k_t.
// Once u and du are known, states are sums, and what is left are sums over columns:
//   dq_t = S_t do_t,  da_t = S_(t-1) du_t,  dk_t = G_t v_t,  db_t = G_t u_t,  dg_t = exp(g_t) . sum G_t S_(t-1).
// A tile of the transposed states stays in registers for these, forward from a state that was kept, then backwards.
#pragma once

#include "linear_attention.h"

namespace linsight {

// What ops/delta hands over: an attention, and a and b, or beta where they follow from it.
struct Delta {
  Attention x;
  int64_t free;                      // whether a and b are given; of no keys they are null
  Rows a, b, beta;
  float *corrections, *checkpoints;  // u (batch, length, heads, values), and the state before every chunk
  float *da, *db, *dbeta;            // as k twice; (batch, length, heads)
};

namespace LINSIGHT_LEVEL {

// Registers along the lanes of a tile, whose rows are as many as are left beside the sums.
constexpr int ACROSS = REGISTER == 64 ? 2 : 1;

// One head of one row, and a chunk of its tokens.
template <bool free, bool decayed>
struct Correction {
  const Delta &d;
  Head h;
  float *q, *k, *a, *b, *decay;     // STEPS rows of wide_k
  float *v, *u, *out;               // STEPS rows of wide_v: values, u, and o
  float *beta;                      // STEPS
  float *state;                     // (wide_k, wide_v)
  // Of the backward. Where not free, `written` are e and `error` v - u; else they are v and u.
  float *dout, *dv, *du;            // STEPS rows of wide_v; dv of what is written
  float *dq, *dk, *da, *db, *dg;    // STEPS rows of wide_k
  float *gradient;                  // as the state
  float *turned, *gradient_turned;  // (wide_v, wide_k)
  float *kept;                      // STEPS tiles

  Correction(const Delta &d, int64_t unit, float *memory, bool backward) : d(d), h(d.x, unit) {
    Scratch scratch{memory};
    const int64_t keys = STEPS * h.wide_k, values = STEPS * h.wide_v, whole = h.wide_k * h.wide_v;
    q = scratch.take(keys), k = scratch.take(keys), a = scratch.take(keys), b = scratch.take(keys);
    decay = scratch.take(keys);
    v = scratch.take(values), u = scratch.take(values), out = scratch.take(values);
    beta = scratch.take(STEPS);
    state = scratch.take(whole);
    if (!backward) return;
    dout = out;
    dv = scratch.take(values), du = scratch.take(values);
    dq = scratch.take(keys), dk = scratch.take(keys), da = scratch.take(keys), db = scratch.take(keys);
    dg = scratch.take(keys);
    gradient = state, turned = scratch.take(whole), gradient_turned = scratch.take(whole);
    kept = scratch.take(STEPS * ROWS * ACROSS * FLOATS);
  }

  float *checkpoint(int64_t chunk) const {
    const int64_t unit = h.row * h.x.heads + h.head;
    return d.checkpoints + (unit * h.chunks() + chunk) * h.wide_k * h.wide_v;
  }

  void read(int64_t first, int64_t steps) {
    const Attention &x = h.x;
    pack(q, h, x.q, first, steps, x.keys, h.wide_k, (float)x.scale);
    pack(k, h, x.k, first, steps, x.keys, h.wide_k);
    pack_decay(decay, h, first, steps);
    pack(v, h, x.v, first, steps, x.values, h.wide_v);
    if (free) {
      pack(a, h, d.a, first, steps, x.keys, h.wide_k);
      pack(b, h, d.b, first, steps, x.keys, h.wide_k);
      return;
    }
    for (int64_t t = 0; t < steps; ++t) beta[t] = *h.of(d.beta, first + t);
    if (!decayed) a = k;
    else each(steps * h.wide_k, BODY { store(a + i, load(k + i, count) * load(decay + i, count), count); });
  }

  // Some columns of the state through a chunk: o and u of its tokens.
  template <int WIDTH>
  void advance(int64_t lane, int64_t steps, Ahead &lines) {
    const Ahead::Share share = lines.share();
    const int64_t wide = h.wide_v, keys = h.x.keys;
    float *s = state + lane;
    Floats seen[WIDTH] = {};
    for (int64_t r = 0; r < keys; ++r)
#pragma GCC unroll 4
      for (int w = 0; w < WIDTH; ++w) seen[w] += *(Floats *)(s + r * wide + w * FLOATS) * a[r];
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t at = t * wide + lane, row = t * h.wide_k;
      // Of the last token nothing is ahead, and what is read there is not used.
      const float *ahead = a + (t + 1 < steps ? row + h.wide_k : row);
      share.step(t);
      Floats write[WIDTH], o[WIDTH] = {}, next[WIDTH] = {};
#pragma GCC unroll 4
      for (int w = 0; w < WIDTH; ++w) {
        *(Floats *)(u + at + w * FLOATS) = seen[w];
        write[w] = *(Floats *)(v + at + w * FLOATS);
        if (!free) write[w] = (write[w] - seen[w]) * beta[t];
      }
#pragma GCC unroll 2
      for (int64_t r = 0; r < keys; ++r)
#pragma GCC unroll 4
        for (int w = 0; w < WIDTH; ++w) {
          Floats *to = (Floats *)(s + r * wide + w * FLOATS), now = *to;
          if (decayed) now *= decay[row + r];
          now += write[w] * k[row + r];
          if (free) now += seen[w] * b[row + r];
          o[w] += now * q[row + r];
          next[w] += now * ahead[r];
          *to = now;
        }
#pragma GCC unroll 4
      for (int w = 0; w < WIDTH; ++w) {
        *(Floats *)(out + at + w * FLOATS) = o[w];
        seen[w] = next[w];
      }
    }
  }

  // Some columns of the gradient from the end of a chunk to before it: dv and du of its tokens.
  template <int WIDTH>
  void retreat(int64_t lane, int64_t steps) {
    const int64_t wide = h.wide_v, keys = h.x.keys;
    float *g = gradient + lane;
    Floats written[WIDTH] = {}, read[WIDTH] = {};
    const float *last = dout + (steps - 1) * wide + lane;
    const int64_t from = (steps - 1) * h.wide_k;
    for (int64_t r = 0; r < keys; ++r)
#pragma GCC unroll 4
      for (int w = 0; w < WIDTH; ++w) {
        Floats *to = (Floats *)(g + r * wide + w * FLOATS);
        const Floats now = *to + *(Floats *)(last + w * FLOATS) * q[from + r];
        written[w] += now * k[from + r];
        if (free) read[w] += now * b[from + r];
        *to = now;
      }
    for (int64_t t = steps - 1; t >= 0; --t) {
      // Before the first token nothing is read: a gradient of 0 is added.
      const int64_t at = t * wide + lane, row = t * h.wide_k, before = t > 0 ? row - h.wide_k : row;
      Floats own[WIDTH], corrected[WIDTH], next[WIDTH] = {}, other[WIDTH] = {};
#pragma GCC unroll 4
      for (int w = 0; w < WIDTH; ++w) {
        corrected[w] = free ? read[w] : written[w] * -beta[t];
        *(Floats *)(dv + at + w * FLOATS) = written[w];
        *(Floats *)(du + at + w * FLOATS) = corrected[w];
        own[w] = t > 0 ? *(Floats *)(dout + at - wide + w * FLOATS) : Floats{};
      }
#pragma GCC unroll 2
      for (int64_t r = 0; r < keys; ++r)
#pragma GCC unroll 4
        for (int w = 0; w < WIDTH; ++w) {
          Floats *to = (Floats *)(g + r * wide + w * FLOATS), now = *to;
          if (decayed) now *= decay[row + r];
          now += corrected[w] * a[row + r];
          now += own[w] * q[before + r];
          next[w] += now * k[before + r];
          if (free) other[w] += now * b[before + r];
          *to = now;
        }
#pragma GCC unroll 4
      for (int w = 0; w < WIDTH; ++w) written[w] = next[w], read[w] = other[w];
    }
  }

  // A tile of the transposed state through a chunk, and of its gradient back: dq and da, then dk, db and dg.
  template <int WIDTH>
  void tile(int64_t row, int64_t lane, int64_t steps) {
    const int64_t wide = h.wide_k;
    Floats s[ROWS][WIDTH];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) s[r][w] = *(Floats *)(turned + (row + r) * wide + lane + w * FLOATS);
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t at = t * wide + lane, column = t * h.wide_v + row;
      const float *values = v + column, *reads = u + column, *dos = dout + column, *dus = du + column;
      Floats *before = (Floats *)kept + t * ROWS * WIDTH;
      Floats key[WIDTH], other[WIDTH], keep[WIDTH], to_q[WIDTH], to_a[WIDTH];
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) {
        key[w] = *(Floats *)(k + at + w * FLOATS);
        if (free) other[w] = *(Floats *)(b + at + w * FLOATS);
        if (decayed) keep[w] = *(Floats *)(decay + at + w * FLOATS);
        to_q[w] = *(Floats *)(dq + at + w * FLOATS);
        to_a[w] = *(Floats *)(da + at + w * FLOATS);
      }
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
        for (int w = 0; w < WIDTH; ++w) {
          to_a[w] += s[r][w] * dus[r];
          if (decayed) {
            before[r * WIDTH + w] = s[r][w];
            s[r][w] *= keep[w];
          }
          s[r][w] += key[w] * values[r];
          if (free) s[r][w] += other[w] * reads[r];
          to_q[w] += s[r][w] * dos[r];
        }
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) {
        *(Floats *)(dq + at + w * FLOATS) = to_q[w];
        *(Floats *)(da + at + w * FLOATS) = to_a[w];
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) s[r][w] = *(Floats *)(gradient_turned + (row + r) * wide + lane + w * FLOATS);
    for (int64_t t = steps - 1; t >= 0; --t) {
      const int64_t at = t * wide + lane, column = t * h.wide_v + row;
      const float *values = v + column, *reads = u + column, *dos = dout + column, *dus = du + column;
      const Floats *before = (Floats *)kept + t * ROWS * WIDTH;
      Floats query[WIDTH], reader[WIDTH], keep[WIDTH], to_k[WIDTH], to_b[WIDTH], to_g[WIDTH];
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) {
        query[w] = *(Floats *)(q + at + w * FLOATS);
        reader[w] = *(Floats *)(a + at + w * FLOATS);
        to_k[w] = *(Floats *)(dk + at + w * FLOATS);
        if (free) to_b[w] = *(Floats *)(db + at + w * FLOATS);
        if (decayed) keep[w] = *(Floats *)(decay + at + w * FLOATS);
        if (decayed) to_g[w] = *(Floats *)(dg + at + w * FLOATS);
      }
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
        for (int w = 0; w < WIDTH; ++w) {
          s[r][w] += query[w] * dos[r];
          to_k[w] += s[r][w] * values[r];
          if (free) to_b[w] += s[r][w] * reads[r];
          if (decayed) to_g[w] += s[r][w] * before[r * WIDTH + w];
          if (decayed) s[r][w] *= keep[w];
          s[r][w] += reader[w] * dus[r];
        }
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) {
        *(Floats *)(dk + at + w * FLOATS) = to_k[w];
        if (free) *(Floats *)(db + at + w * FLOATS) = to_b[w];
        if (decayed) *(Floats *)(dg + at + w * FLOATS) = to_g[w];
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) *(Floats *)(gradient_turned + (row + r) * wide + lane + w * FLOATS) = s[r][w];
  }

  void forward() {
    const Attention &x = h.x;
    gather(state, x.state, h, false);
    for (int64_t chunk = 0; chunk < h.chunks(); ++chunk) {
      const int64_t first = chunk * STEPS, steps = h.of_chunk(chunk);
      if (d.checkpoints) memcpy(checkpoint(chunk), state, h.wide_k * h.wide_v * sizeof(float));
      read(first, steps);
      Ahead lines(h.tiles(1, h.wide_v));
      h.foresee_inputs(lines, first + STEPS, false);
      if (free) h.foresee(lines, d.a, first + STEPS, x.keys), h.foresee(lines, d.b, first + STEPS, x.keys);
      h.foresee(lines, x.o, false, first + STEPS, x.values);
      int64_t lane = 0;
      for (; lane + 2 * FLOATS <= h.wide_v; lane += 2 * FLOATS) advance<2>(lane, steps, lines);
      if (lane < h.wide_v) advance<1>(lane, steps, lines);
      for (int64_t t = 0; t < steps; ++t) {
        const int64_t here = h.here(first + t) * x.values;
        memcpy(x.o + here, out + t * h.wide_v, x.values * sizeof(float));
        if (d.corrections) memcpy(d.corrections + here, u + t * h.wide_v, x.values * sizeof(float));
      }
    }
    scatter(x.final_state, state, h);
  }

  // The gradients of a token from those of its rows.
  void finish(int64_t t, int64_t token) {
    const Attention &x = h.x;
    const int64_t row = t * h.wide_k, column = t * h.wide_v, here = h.here(token);
    const int64_t keys = here * x.keys, values = here * x.values;
    const float scale = (float)x.scale, factor = free ? 1 : beta[t];
    if (!free) d.dbeta[here] = dot(dv + column, u + column, h.wide_v);
    each(x.values, BODY { store(x.dv + values + i, load(dv + column + i, count) * factor, count); });
    Vector total = {};
    each(x.keys, BODY {
      const Vector reader = load(da + row + i, count);
      Vector key = load(dk + row + i, count), g = {};
      if (decayed) {
        const Vector keep = load(decay + row + i, count);
        g = load(dg + row + i, count) * keep;
        if (!free) g += load(a + row + i, count) * reader;
        if (!free) key += reader * keep;
        if (x.by_feature && x.ddecay) store(x.ddecay + keys + i, g, count);
        total += g;
      } else if (!free) {
        key += reader;
      }
      store(x.dk + keys + i, key, count);
      store(x.dq + keys + i, load(dq + row + i, count) * scale, count);
      if (free) {
        store(d.da + keys + i, reader, count);
        store(d.db + keys + i, load(db + row + i, count), count);
      }
    });
    if (decayed && !x.by_feature && x.ddecay) x.ddecay[here] = sum(total);
  }

  void backward() {
    const Attention &x = h.x;
    const Rows corrections{d.corrections, x.length * x.heads * x.values, x.heads * x.values, x.values};
    gather(gradient, x.dfinal, h, false);
    gather(gradient_turned, x.dfinal, h, true);
    for (int64_t chunk = h.chunks() - 1; chunk >= 0; --chunk) {
      const int64_t first = chunk * STEPS, steps = h.of_chunk(chunk);
      read(first, steps);
      pack(u, h, corrections, first, steps, x.values, h.wide_v);
      pack_gradients(dout, h, first, steps);
      int64_t lane = 0;
      for (; lane + 2 * FLOATS <= h.wide_v; lane += 2 * FLOATS) retreat<2>(lane, steps);
      if (lane < h.wide_v) retreat<1>(lane, steps);
      if (!free)  // to the errors and what is written, in place
        for (int64_t t = 0; t < steps; ++t)
          each(h.wide_v, BODY {
            const int64_t at = t * h.wide_v + i;
            const Vector error = load(v + at, count) + load(u + at, count) * -1.0f;
            store(u + at, error, count);
            store(v + at, error * beta[t], count);
          });
      const float *from = checkpoint(chunk);
      for (int64_t j = 0; j < h.wide_v; ++j)
        for (int64_t i = 0; i < h.wide_k; ++i) turned[j * h.wide_k + i] = from[i * h.wide_v + j];
      float *sums[] = {dq, dk, da, db, dg};
      for (float *each : sums) memset(each, 0, steps * h.wide_k * sizeof(float));
      for (lane = 0; lane < h.wide_k; lane += ACROSS * FLOATS)
        for (int64_t row = 0; row < x.values; row += ROWS)
          if (lane + ACROSS * FLOATS <= h.wide_k) tile<ACROSS>(row, lane, steps);
          else tile<1>(row, lane, steps);
      for (int64_t t = 0; t < steps; ++t) finish(t, first + t);
    }
    if (x.dstate) scatter(x.dstate, gradient, h);
  }
};

template <bool free, bool decayed>
static void correct(const Delta &d, int64_t unit, float *memory, bool backward) {
  Correction<free, decayed> one(d, unit, memory, backward);
  if (backward) one.backward();
  else one.forward();
}

INLINE void correct(const Delta &d, int64_t unit, float *memory, bool backward) {
  const bool decayed = d.x.decay.data;
  if (d.free) (decayed ? correct<true, true> : correct<true, false>)(d, unit, memory, backward);
  else (decayed ? correct<false, true> : correct<false, false>)(d, unit, memory, backward);
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
