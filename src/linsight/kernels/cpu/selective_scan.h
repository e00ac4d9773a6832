// h_t = exp(delta_t A) h_(t-1) + delta_t u_t B_t, y_t = C_t . h_t + D u_t, and its gradients.
// Sixteen channels at a time, time in sequence, their states in cache. The forward keeps the states before every
// `interval` tokens; the backward computes the others again from these, so nothing of length x channels x states
// is ever written.
#pragma once

#include "vectors.h"

namespace linsight {

// What ops/scan hands over. Rows of tokens have strides in floats, and numbers of a token lie side by side.
// Null pointers stand for what is not asked for. A is (states, channels).
struct Scan {
  int64_t batch, length, channels, states, interval, groups;
  const float *u, *delta, *A, *B, *C, *D, *state;
  int64_t u_row, u_token, delta_row, delta_token, B_row, B_token, C_row, C_token;
  float *y, *final_state, *checkpoints;
  const float *dy, *dfinal;
  int64_t dy_row, dy_token;
  float *du, *ddelta;      // (batch, length, channels)
  float *dA, *dD;          // (batch, states, channels), (batch, channels): summed over the batch by the caller
  float *dB, *dC;          // (groups, batch, length, states): summed over the groups of channels by the caller
  float *dstate;           // (batch, channels, states)
};

namespace LINSIGHT_LEVEL {

struct Channels {
  int64_t row, block, first, count;
};

INLINE int64_t blocks(const Scan &s) { return (s.channels + LANES - 1) / LANES; }

INLINE Channels channels(const Scan &s, int64_t row, int64_t block) {
  int64_t first = block * LANES, left = s.channels - first;
  return {row, block, first, left < LANES ? left : LANES};
}

INLINE float *checkpoint(const Scan &s, const Channels &c, int64_t interval) {
  int64_t intervals = (s.length + s.interval - 1) / s.interval;
  return s.checkpoints + ((c.row * blocks(s) + c.block) * intervals + interval) * s.states * LANES;
}

// (channels, states) of memory to states of channels, and back.
INLINE void gather(Vector *h, const float *from, const Scan &s, const Channels &c) {
  for (int64_t n = 0; n < s.states; ++n) {
    h[n] = Vector{};
    if (from)
      for (int64_t i = 0; i < c.count; ++i)
        ((float *)(h + n))[i] = from[(c.row * s.channels + c.first + i) * s.states + n];
  }
}

INLINE void scatter(float *to, const Vector *h, const Scan &s, const Channels &c) {
  for (int64_t n = 0; n < s.states; ++n)
    for (int64_t i = 0; i < c.count; ++i)
      to[(c.row * s.channels + c.first + i) * s.states + n] = ((const float *)(h + n))[i];
}

// A / log 2, so that decays are powers of two.
INLINE void rates(Vector *A, const Scan &s, const Channels &c) {
  for (int64_t n = 0; n < s.states; ++n) A[n] = load(s.A + n * s.channels + c.first, c.count) * LOG2E;
}

constexpr int64_t AHEAD = 8;  // tokens

static void forward(const Scan &s, const Channels &c, float *scratch) {
  const int64_t N = s.states;
  Vector *A = (Vector *)scratch, *h = A + N;
  rates(A, s, c);
  gather(h, s.state, s, c);
  const Vector D = s.D ? load(s.D + c.first, c.count) : Vector{};
  for (int64_t t = 0; t < s.length; ++t) {
    if (s.checkpoints && t % s.interval == 0) memcpy(checkpoint(s, c, t / s.interval), h, N * sizeof(Vector));
    // Tokens are often pages apart, where the processor foresees nothing.
    if (t + AHEAD < s.length) {
      __builtin_prefetch(s.u + c.row * s.u_row + (t + AHEAD) * s.u_token + c.first);
      __builtin_prefetch(s.delta + c.row * s.delta_row + (t + AHEAD) * s.delta_token + c.first);
      __builtin_prefetch(s.y + (c.row * s.length + t + AHEAD) * s.channels + c.first, 1);
    }
    const Vector u = load(s.u + c.row * s.u_row + t * s.u_token + c.first, c.count);
    const Vector delta = load(s.delta + c.row * s.delta_row + t * s.delta_token + c.first, c.count);
    const float *B = s.B + c.row * s.B_row + t * s.B_token, *C = s.C + c.row * s.C_row + t * s.C_token;
    const Vector write = delta * u;
    Vector y = D * u;
    for (int64_t n = 0; n < N; ++n) {
      h[n] = two_to(delta * A[n]) * h[n] + write * B[n];
      y += h[n] * C[n];
    }
    store(s.y + (c.row * s.length + t) * s.channels + c.first, y, c.count);
  }
  scatter(s.final_state, h, s, c);
}

// Scratch of the backward, in vectors: what is one for each block of a group, then what the blocks share.
struct Adjoints {
  Vector *dh, *dA, *dD, *A, *h, *decays, *dB, *dC;

  Adjoints(const Scan &s, float *scratch, int64_t members) {
    const int64_t N = s.states, K = s.interval;
    dh = (Vector *)scratch;
    dA = dh + members * N;
    dD = dA + members * N;
    A = dD + members;
    h = A + N;
    decays = h + (K + 1) * N;
    dB = decays + K * N;
    dC = dB + K * N;
  }

  static int64_t vectors(const Scan &s, int64_t members) {
    return members * (2 * s.states + 1) + s.states * (4 * s.interval + 2);
  }
};

static void again(const Scan &s, const Channels &c, const Adjoints &a, int64_t start, int64_t steps) {
  const int64_t N = s.states;
  memcpy(a.h, checkpoint(s, c, start / s.interval), N * sizeof(Vector));
  for (int64_t k = 0; k < steps; ++k) {
    const int64_t t = start + k;
    const Vector u = load(s.u + c.row * s.u_row + t * s.u_token + c.first, c.count);
    const Vector delta = load(s.delta + c.row * s.delta_row + t * s.delta_token + c.first, c.count);
    const float *B = s.B + c.row * s.B_row + t * s.B_token;
    const Vector write = delta * u, *before = a.h + k * N;
    Vector *after = a.h + (k + 1) * N, *decays = a.decays + k * N;
    for (int64_t n = 0; n < N; ++n) {
      decays[n] = two_to(delta * a.A[n]);
      after[n] = decays[n] * before[n] + write * B[n];
    }
  }
}

static void adjoint(const Scan &s, const Channels &c, const Adjoints &a, int64_t member, int64_t start,
                    int64_t steps) {
  const int64_t N = s.states;
  Vector *dh = a.dh + member * N, *dA = a.dA + member * N;
  const Vector D = s.D ? load(s.D + c.first, c.count) : Vector{};
  for (int64_t k = steps - 1; k >= 0; --k) {
    const int64_t t = start + k;
    const Vector u = load(s.u + c.row * s.u_row + t * s.u_token + c.first, c.count);
    const Vector delta = load(s.delta + c.row * s.delta_row + t * s.delta_token + c.first, c.count);
    const Vector dy = load(s.dy + c.row * s.dy_row + t * s.dy_token + c.first, c.count);
    const float *B = s.B + c.row * s.B_row + t * s.B_token, *C = s.C + c.row * s.C_row + t * s.C_token;
    const Vector *before = a.h + k * N, *after = before + N, *decays = a.decays + k * N;
    Vector *dB = a.dB + k * N, *dC = a.dC + k * N;
    const Vector write = delta * u;
    Vector dwrite = {}, dstep = {};
    for (int64_t n = 0; n < N; ++n) {
      const Vector dstate = dh[n] + dy * C[n];
      dC[n] += after[n] * dy;
      dB[n] += dstate * write;
      dwrite += dstate * B[n];
      dh[n] = dstate * decays[n];
      const Vector dexponent = dh[n] * before[n];
      dA[n] += dexponent * delta;
      dstep += dexponent * a.A[n];
    }
    a.dD[member] += dy * u;
    const int64_t here = (c.row * s.length + t) * s.channels + c.first;
    store(s.du + here, dwrite * delta + D * dy, c.count);
    store(s.ddelta + here, dwrite * u + dstep * LOG2, c.count);
  }
}

static void backward(const Scan &s, int64_t row, int64_t group, float *scratch) {
  const int64_t N = s.states, K = s.interval;
  // The same groups whatever the threads, so the sums over channels are the same to the last bit.
  const int64_t begin = group * blocks(s) / s.groups, end = (group + 1) * blocks(s) / s.groups;
  const Adjoints a(s, scratch, end - begin);
  for (int64_t block = begin; block < end; ++block) {
    const int64_t member = block - begin;
    gather(a.dh + member * N, s.dfinal, s, channels(s, row, block));
    memset((void *)(a.dA + member * N), 0, N * sizeof(Vector));
    a.dD[member] = Vector{};
  }
  for (int64_t start = (s.length - 1) / K * K; start >= 0; start -= K) {
    const int64_t steps = s.length - start < K ? s.length - start : K;
    memset((void *)a.dB, 0, 2 * K * N * sizeof(Vector));
    for (int64_t block = begin; block < end; ++block) {
      const Channels c = channels(s, row, block);
      rates(a.A, s, c);
      again(s, c, a, start, steps);
      adjoint(s, c, a, block - begin, start, steps);
    }
    const int64_t here = ((group * s.batch + row) * s.length + start) * N;
    for (int64_t i = 0; i < steps * N; ++i) {
      s.dB[here + i] = sum(a.dB[i]);
      s.dC[here + i] = sum(a.dC[i]);
    }
  }
  for (int64_t block = begin; block < end; ++block) {
    const int64_t member = block - begin;
    const Channels c = channels(s, row, block);
    scatter(s.dstate, a.dh + member * N, s, c);
    for (int64_t n = 0; n < N; ++n)
      store(s.dA + (row * N + n) * s.channels + c.first, a.dA[member * N + n], c.count);
    store(s.dD + row * s.channels + c.first, a.dD[member], c.count);
  }
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
