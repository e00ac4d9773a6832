// h_t,n = lambda_n h_(t-1),n + x_t, y_t = Re sum_n c_n h_t,n, complex states of real channels, and the gradients.
// Sixteen channels at a time; some states in registers while a chunk of tokens passes, which stays in cache. The
// forward keeps the states before every chunk; the backward computes the others again, state by state.
// A decay that is rounded turns and fades a little too fast or too slow, the same way at every token: after every
// SLIP tokens a factor near 1 puts back what that many roundings took.
#pragma once

#include "vectors.h"

namespace linsight {

// What ops/diagonal hands over. Rows of x and dy have strides in floats, and numbers of a token lie side by side. Null:
// not given.
struct Diagonal {
  int64_t batch, length, channels, states;
  const float *x;
  int64_t x_row, x_token;
  const float *parameters;  // (6, states, channels): parts of the decay, of what reads, of the factor less 1
  const float *state;       // (batch, channels, states, 2)
  const int64_t *lengths;   // (batch)
  float *y, *final_state, *checkpoints;
  const float *dy;
  int64_t dy_row, dy_token;
  const float *dfinal;
  float *dx, *dstate;
  float *ddecay, *dread;    // (batch, states, 2, channels), of the decay's logarithm: the caller sums over rows
};

namespace LINSIGHT_LEVEL {

constexpr int64_t TOKENS = 32, SLIP = 8;
constexpr int64_t SUB = REGISTER / sizeof(float);
// States that pass together, so that one need not wait for itself.
constexpr int TOGETHER = REGISTER == 64 ? 4 : 2, BACK = REGISTER == 64 ? 2 : 1;

struct Complexes {
  Floats re, im;
};

INLINE Floats &at(float *from, int64_t index) { return *(Floats *)(from + index); }

// Sixteen channels of a row.
struct Space {
  const Diagonal &d;
  const int64_t row, block, first, count, length;
  float *parameters[6];       // (states, 16) each
  float *h;                   // (states, 2, 16)
  float *x, *y;               // (TOKENS, 16)
  float *dx, *g, *dl, *dc;    // y then has dy; as x, and as h three times
  float *kept;                // lambda h of the tokens of a chunk, for some states

  Space(const Diagonal &d, int64_t unit, float *scratch)
      : d(d), row(unit / blocks(d)), block(unit % blocks(d)), first(block * LANES),
        count(d.channels - first < LANES ? d.channels - first : LANES), length(tokens()) {
    const int64_t whole = d.states * LANES;
    for (float *&each : parameters) each = scratch, scratch += whole;
    float **pairs[] = {&h, &g, &dl, &dc}, **rows[] = {&x, &y, &dx};
    for (float **each : pairs) *each = scratch, scratch += 2 * whole;
    for (float **each : rows) *each = scratch, scratch += TOKENS * LANES;
    kept = scratch;
    for (int64_t i = 0; i < 6; ++i)
      for (int64_t n = 0; n < d.states; ++n)
        store(parameters[i] + n * LANES, load(d.parameters + (i * d.states + n) * d.channels + first, count), LANES);
  }

  static int64_t blocks(const Diagonal &d) { return (d.channels + LANES - 1) / LANES; }

  int64_t tokens() const {
    if (!d.lengths || d.lengths[row] > d.length) return d.length;
    return d.lengths[row] > 0 ? d.lengths[row] : 0;
  }

  int64_t steps(int64_t start) const { return length - start < TOKENS ? length - start : TOKENS; }

  float *checkpoint(int64_t start) const {
    const int64_t intervals = (d.length + TOKENS - 1) / TOKENS;
    return d.checkpoints + ((row * blocks(d) + block) * intervals + start / TOKENS) * 2 * d.states * LANES;
  }

  float *here(float *rows, int64_t t) const { return rows + (row * d.length + t) * d.channels + first; }

  // (channels, states, 2) of memory to states of channels, and back.
  void gather(float *to, const float *from) const {
    memset(to, 0, 2 * d.states * LANES * sizeof(float));
    if (from)
      for (int64_t i = 0; i < count; ++i)
        for (int64_t n = 0; n < 2 * d.states; ++n) to[n * LANES + i] = from[(row * d.channels + first + i) * 2 * d.states + n];
  }

  void scatter(float *to, const float *from) const {
    for (int64_t i = 0; i < count; ++i)
      for (int64_t n = 0; n < 2 * d.states; ++n) to[(row * d.channels + first + i) * 2 * d.states + n] = from[n * LANES + i];
  }

  void read(int64_t start) const {
    for (int64_t t = 0; t < steps(start); ++t) {
      const int64_t next = start + t + TOKENS;
      if (next < length) __builtin_prefetch(d.x + row * d.x_row + next * d.x_token + first);
      store(x + t * LANES, load(d.x + row * d.x_row + (start + t) * d.x_token + first, count), LANES);
    }
  }

  // A parameter of some states: 0 the decay, 2 what reads, 4 the factor.
  template <int P>
  void take(Complexes (&to)[P], int which, int64_t n, int64_t lane) const {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p)
      to[p] = {at(parameters[which], (n + p) * LANES + lane), at(parameters[which + 1], (n + p) * LANES + lane)};
  }

  template <int P>
  void advance(int64_t n, int64_t lane, int64_t steps) const {
    Complexes l[P], c[P], slip[P], s[P];
    take(l, 0, n, lane), take(c, 2, n, lane);
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) s[p] = {at(h, 2 * (n + p) * LANES + lane), at(h, (2 * (n + p) + 1) * LANES + lane)};
    for (int64_t t = 0; t < steps; ++t) {
      const Floats in = at(x, t * LANES + lane);
      Floats out = at(y, t * LANES + lane);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const Floats re = l[p].re * s[p].re + in;
        const Floats im = l[p].re * s[p].im;
        s[p] = {re - l[p].im * s[p].im, im + l[p].im * s[p].re};
        out += c[p].re * s[p].re;
        out -= c[p].im * s[p].im;
      }
      at(y, t * LANES + lane) = out;
      if (t % SLIP != SLIP - 1) continue;
      take(slip, 4, n, lane);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p)
        s[p] = {s[p].re + (slip[p].re * s[p].re - slip[p].im * s[p].im),
                s[p].im + (slip[p].re * s[p].im + slip[p].im * s[p].re)};
    }
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p)
      at(h, 2 * (n + p) * LANES + lane) = s[p].re, at(h, (2 * (n + p) + 1) * LANES + lane) = s[p].im;
  }

  void forward() const {
    gather(h, d.state);
    for (int64_t start = 0; start < length; start += TOKENS) {
      const int64_t size = steps(start);
      if (d.checkpoints) memcpy(checkpoint(start), h, 2 * d.states * LANES * sizeof(float));
      read(start);
      memset(y, 0, size * LANES * sizeof(float));
      for (int64_t lane = 0; lane < LANES; lane += SUB) {
        int64_t n = 0;
        for (; n + TOGETHER <= d.states; n += TOGETHER) advance<TOGETHER>(n, lane, size);
        for (; n < d.states; ++n) advance<1>(n, lane, size);
      }
      for (int64_t t = 0; t < size; ++t) store(here(d.y, start + t), load(y + t * LANES, LANES), count);
    }
    // What follows the tokens of a row is 0, and so is what is kept for it.
    for (int64_t t = length; t < d.length; ++t) store(here(d.y, t), Vector{}, count);
    if (d.checkpoints)
      for (int64_t start = (length + TOKENS - 1) / TOKENS * TOKENS; start < d.length; start += TOKENS)
        memset(checkpoint(start), 0, 2 * d.states * LANES * sizeof(float));
    scatter(d.final_state, h);
  }

  template <int P>
  void retreat(int64_t n, int64_t lane, int64_t steps, const float *from) const {
    Complexes l[P], c[P], slip[P], s[P], reads[P], decays[P];
    Complexes *passed = (Complexes *)kept;
    take(l, 0, n, lane);
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const int64_t re = 2 * (n + p) * LANES + lane, im = re + LANES;
      s[p] = {at((float *)from, re), at((float *)from, im)};
    }
    for (int64_t t = 0; t < steps; ++t) {
      const Floats in = at(x, t * LANES + lane);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const Complexes now = {l[p].re * s[p].re - l[p].im * s[p].im, l[p].re * s[p].im + l[p].im * s[p].re};
        passed[t * P + p] = now;
        s[p] = {now.re + in, now.im};
      }
      if (t % SLIP != SLIP - 1) continue;
      take(slip, 4, n, lane);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p)
        s[p] = {s[p].re + (slip[p].re * s[p].re - slip[p].im * s[p].im),
                s[p].im + (slip[p].re * s[p].im + slip[p].im * s[p].re)};
    }
    take(c, 2, n, lane);
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const int64_t re = 2 * (n + p) * LANES + lane, im = re + LANES;
      s[p] = {at(g, re), at(g, im)}, decays[p] = {at(dl, re), at(dl, im)}, reads[p] = {at(dc, re), at(dc, im)};
    }
    for (int64_t t = steps - 1; t >= 0; --t) {
      const Floats in = at(x, t * LANES + lane), dout = at(y, t * LANES + lane);
      Floats din = at(dx, t * LANES + lane);
      if (t % SLIP == SLIP - 1) {
        take(slip, 4, n, lane);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p)
          s[p] = {s[p].re + (slip[p].re * s[p].re + slip[p].im * s[p].im),
                  s[p].im + (slip[p].re * s[p].im - slip[p].im * s[p].re)};
      }
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const Complexes now = passed[t * P + p];
        s[p].re += c[p].re * dout;
        s[p].im -= c[p].im * dout;
        din += s[p].re;
        reads[p].re += (now.re + in) * dout;
        reads[p].im -= now.im * dout;
        decays[p].re += now.re * s[p].re;
        decays[p].re += now.im * s[p].im;
        decays[p].im += now.re * s[p].im;
        decays[p].im -= now.im * s[p].re;
        s[p] = {l[p].re * s[p].re + l[p].im * s[p].im, l[p].re * s[p].im - l[p].im * s[p].re};
      }
      at(dx, t * LANES + lane) = din;
    }
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const int64_t re = 2 * (n + p) * LANES + lane, im = re + LANES;
      at(g, re) = s[p].re, at(g, im) = s[p].im;
      at(dl, re) = decays[p].re, at(dl, im) = decays[p].im;
      at(dc, re) = reads[p].re, at(dc, im) = reads[p].im;
    }
  }

  void backward() const {
    gather(g, d.dfinal);
    memset(dl, 0, 2 * d.states * LANES * sizeof(float));
    memset(dc, 0, 2 * d.states * LANES * sizeof(float));
    for (int64_t t = length; t < d.length; ++t) store(here(d.dx, t), Vector{}, count);
    for (int64_t start = (length - 1) / TOKENS * TOKENS; start >= 0 && length; start -= TOKENS) {
      const int64_t size = steps(start);
      const float *from = checkpoint(start);
      read(start);
      memset(dx, 0, size * LANES * sizeof(float));
      for (int64_t t = 0; t < size; ++t)
        store(y + t * LANES, load(d.dy + row * d.dy_row + (start + t) * d.dy_token + first, count), LANES);
      for (int64_t lane = 0; lane < LANES; lane += SUB) {
        int64_t n = 0;
        for (; n + BACK <= d.states; n += BACK) retreat<BACK>(n, lane, size, from);
        for (; n < d.states; ++n) retreat<1>(n, lane, size, from);
      }
      for (int64_t t = 0; t < size; ++t) store(here(d.dx, start + t), load(dx + t * LANES, LANES), count);
    }
    scatter(d.dstate, g);
    for (int64_t n = 0; n < 2 * d.states; ++n) {
      const int64_t to = (row * 2 * d.states + n) * d.channels + first;
      store(d.ddecay + to, load(dl + n * LANES, LANES), count);
      store(d.dread + to, load(dc + n * LANES, LANES), count);
    }
  }
};

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
