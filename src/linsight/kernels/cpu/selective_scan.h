// h_t = exp(delta_t A) h_(t-1) + delta_t u_t B_t, y_t = C_t . h_t + D u_t, and its gradients.
// An interval of tokens at a time, in it sixteen channels at a time, and some of their states in registers. The
// forward keeps the states before every interval; the backward computes the others again from these, so nothing of
// length x channels x states is ever written.
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

// States of sixteen channels that stay in registers while an interval passes.
constexpr int FORWARD = REGISTER == 64 ? 8 : 2, BACKWARD = REGISTER == 64 ? 4 : 1;

INLINE int64_t blocks(const Scan &s) { return (s.channels + LANES - 1) / LANES; }

// Sixteen channels of a row, or what is left of them.
struct Channels {
  const Scan &s;
  int64_t row, block, first, count;

  Channels(const Scan &s, int64_t row, int64_t block)
      : s(s), row(row), block(block), first(block * LANES),
        count(s.channels - first < LANES ? s.channels - first : LANES) {}

  const float *u(int64_t t) const { return s.u + row * s.u_row + t * s.u_token + first; }
  const float *delta(int64_t t) const { return s.delta + row * s.delta_row + t * s.delta_token + first; }
  const float *dy(int64_t t) const { return s.dy + row * s.dy_row + t * s.dy_token + first; }
  const float *B(int64_t t) const { return s.B + row * s.B_row + t * s.B_token; }
  const float *C(int64_t t) const { return s.C + row * s.C_row + t * s.C_token; }
  int64_t here(int64_t t) const { return (row * s.length + t) * s.channels + first; }

  float *checkpoint(int64_t t) const {
    const int64_t intervals = (s.length + s.interval - 1) / s.interval;
    return s.checkpoints + ((row * blocks(s) + block) * intervals + t / s.interval) * s.states * LANES;
  }
};

// (channels, states) of memory to states of channels, and back.
INLINE void gather(Vector *h, const float *from, const Channels &c) {
  const int64_t N = c.s.states;
  for (int64_t n = 0; n < N; ++n) {
    h[n] = Vector{};
    if (from)
      for (int64_t i = 0; i < c.count; ++i) ((float *)(h + n))[i] = from[(c.row * c.s.channels + c.first + i) * N + n];
  }
}

INLINE void scatter(float *to, const Vector *h, const Channels &c) {
  const int64_t N = c.s.states;
  for (int64_t n = 0; n < N; ++n)
    for (int64_t i = 0; i < c.count; ++i)
      to[(c.row * c.s.channels + c.first + i) * N + n] = ((const float *)(h + n))[i];
}

// A / log 2, so that decays are powers of two.
INLINE void rates(Vector *A, const Channels &c) {
  for (int64_t n = 0; n < c.s.states; ++n) A[n] = load(c.s.A + n * c.s.channels + c.first, c.count) * LOG2E;
}

INLINE Vector direct(const Channels &c) { return c.s.D ? load(c.s.D + c.first, c.count) : Vector{}; }

// An interval of sixteen channels, packed: where they come from, tokens are often pages apart, and push one another
// out of the cache.
struct Interval {
  Vector *u, *delta, *write, *y, *dwrite, *dstep;  // in a backward y is its gradient
  int64_t start, steps;

  Interval(const Scan &s, Vector *memory)
      : u(memory), delta(u + s.interval), write(delta + s.interval), y(write + s.interval), dwrite(y + s.interval),
        dstep(dwrite + s.interval) {}

  static int64_t vectors(const Scan &s) { return 6 * s.interval; }  // PACKED of scan.py

  void begin(const Scan &s, int64_t t) {
    start = t;
    steps = s.length - t < s.interval ? s.length - t : s.interval;
  }

  void pack(const Channels &c) {
    for (int64_t k = 0; k < steps; ++k) {
      u[k] = load(c.u(start + k), c.count);
      delta[k] = load(c.delta(start + k), c.count);
      write[k] = delta[k] * u[k];
    }
  }
};

// What the next channels read and write at this token, on its way while these are computed: the processor foresees
// nothing that is a page further on.
INLINE void prefetch(const Channels &c, int64_t t, bool backward) {
  if (c.first + LANES >= c.s.channels) return;
  const Channels next(c.s, c.row, c.block + 1);
  __builtin_prefetch(next.u(t), 0, 2);
  __builtin_prefetch(next.delta(t), 0, 2);
  if (backward) {
    __builtin_prefetch(next.dy(t), 0, 2);
    __builtin_prefetch(c.s.du + next.here(t), 1, 2);
    __builtin_prefetch(c.s.ddelta + next.here(t), 1, 2);
  } else {
    __builtin_prefetch(c.s.y + next.here(t), 1, 2);
  }
}

// COUNT states from the n-th on, through an interval.
template <int COUNT>
static void advance(const Channels &c, const Interval &i, const Vector *A, Vector *state, int64_t n) {
  Vector h[COUNT], rate[COUNT];
  for (int j = 0; j < COUNT; ++j) h[j] = state[n + j], rate[j] = A[n + j];
  for (int64_t k = 0; k < i.steps; ++k) {
    const float *B = c.B(i.start + k) + n, *C = c.C(i.start + k) + n;
    const Vector delta = i.delta[k], write = i.write[k];
    if (n == 0) prefetch(c, i.start + k, false);
    Vector y = i.y[k];
    for (int j = 0; j < COUNT; ++j) {
      h[j] = two_to(delta * rate[j]) * h[j] + write * B[j];
      y += h[j] * C[j];
    }
    i.y[k] = y;
  }
  for (int j = 0; j < COUNT; ++j) state[n + j] = h[j];
}

static void advance(const Channels &c, Interval &i, const Vector *A, Vector *state) {
  const Scan &s = c.s;
  if (s.checkpoints) memcpy(c.checkpoint(i.start), state, s.states * sizeof(Vector));
  i.pack(c);
  const Vector D = direct(c);
  for (int64_t k = 0; k < i.steps; ++k) i.y[k] = D * i.u[k];
  int64_t n = 0;
  for (; n + FORWARD <= s.states; n += FORWARD) advance<FORWARD>(c, i, A, state, n);
  for (; n < s.states; ++n) advance<1>(c, i, A, state, n);
  for (int64_t k = 0; k < i.steps; ++k) store(s.y + c.here(i.start + k), i.y[k], c.count);
}

// Blocks `begin` to `end` of a row.
static void forward(const Scan &s, int64_t row, int64_t begin, int64_t end, float *scratch) {
  const int64_t N = s.states;
  Interval i(s, (Vector *)scratch);
  Vector *A = (Vector *)scratch + Interval::vectors(s), *state = A + (end - begin) * N;
  for (int64_t block = begin; block < end; ++block) {
    rates(A + (block - begin) * N, Channels(s, row, block));
    gather(state + (block - begin) * N, s.state, Channels(s, row, block));
  }
  for (int64_t t = 0; t < s.length; t += s.interval) {
    i.begin(s, t);
    for (int64_t block = begin; block < end; ++block)
      advance(Channels(s, row, block), i, A + (block - begin) * N, state + (block - begin) * N);
  }
  for (int64_t block = begin; block < end; ++block)
    scatter(s.final_state, state + (block - begin) * N, Channels(s, row, block));
}

// Scratch of the backward, in vectors: what is one for each block of a group, then what the blocks share.
struct Adjoints {
  Interval i;
  Vector *A, *dh, *dA, *dD, *h, *decays, *dB, *dC;

  Adjoints(const Scan &s, float *scratch, int64_t members) : i(s, (Vector *)scratch) {
    const int64_t N = s.states, K = s.interval;
    A = (Vector *)scratch + Interval::vectors(s);
    dh = A + members * N;
    dA = dh + members * N;
    dD = dA + members * N;
    h = dD + members;
    decays = h + (K + 1) * BACKWARD;
    dB = decays + K * BACKWARD;
    dC = dB + K * N;
  }
};

// COUNT states from the n-th on, to the end of an interval and back.
template <int COUNT>
static void reverse(const Channels &c, const Adjoints &a, int64_t member, int64_t n) {
  const Interval &i = a.i;
  const int64_t N = c.s.states, own = member * N + n;
  const float *kept = c.checkpoint(i.start) + n * LANES;
  Vector h[COUNT], rate[COUNT], dh[COUNT], dA[COUNT];
  for (int j = 0; j < COUNT; ++j) {
    rate[j] = a.A[own + j], dh[j] = a.dh[own + j], dA[j] = a.dA[own + j];
    a.h[j] = h[j] = load(kept + j * LANES, LANES);
  }
  for (int64_t k = 0; k < i.steps; ++k) {
    const float *B = c.B(i.start + k) + n;
    if (n == 0) prefetch(c, i.start + k, true);
    for (int j = 0; j < COUNT; ++j) {
      const Vector decay = two_to(i.delta[k] * rate[j]);
      h[j] = decay * h[j] + i.write[k] * B[j];
      a.decays[k * COUNT + j] = decay;
      a.h[(k + 1) * COUNT + j] = h[j];
    }
  }
  for (int64_t k = i.steps - 1; k >= 0; --k) {
    const float *B = c.B(i.start + k) + n, *C = c.C(i.start + k) + n;
    const Vector *before = a.h + k * COUNT, *after = before + COUNT, *decays = a.decays + k * COUNT;
    Vector *dB = a.dB + k * N + n, *dC = a.dC + k * N + n;
    const Vector delta = i.delta[k], write = i.write[k], dy = i.y[k];
    Vector dwrite = i.dwrite[k], dstep = i.dstep[k];
    for (int j = 0; j < COUNT; ++j) {
      const Vector dstate = dh[j] + dy * C[j];
      dC[j] += after[j] * dy;
      dB[j] += dstate * write;
      dwrite += dstate * B[j];
      dh[j] = dstate * decays[j];
      const Vector dexponent = dh[j] * before[j];
      dA[j] += dexponent * delta;
      dstep += dexponent * rate[j];
    }
    i.dwrite[k] = dwrite, i.dstep[k] = dstep;
  }
  for (int j = 0; j < COUNT; ++j) a.dh[own + j] = dh[j], a.dA[own + j] = dA[j];
}

static void reverse(const Channels &c, Adjoints &a, int64_t member) {
  const Scan &s = c.s;
  Interval &i = a.i;
  i.pack(c);
  for (int64_t k = 0; k < i.steps; ++k) {
    i.y[k] = load(c.dy(i.start + k), c.count);
    i.dwrite[k] = i.dstep[k] = Vector{};
  }
  int64_t n = 0;
  for (; n + BACKWARD <= s.states; n += BACKWARD) reverse<BACKWARD>(c, a, member, n);
  for (; n < s.states; ++n) reverse<1>(c, a, member, n);
  const Vector D = direct(c);
  for (int64_t k = 0; k < i.steps; ++k) {
    a.dD[member] += i.y[k] * i.u[k];
    store(s.du + c.here(i.start + k), i.dwrite[k] * i.delta[k] + D * i.y[k], c.count);
    store(s.ddelta + c.here(i.start + k), i.dwrite[k] * i.u[k] + i.dstep[k] * LOG2, c.count);
  }
}

static void backward(const Scan &s, int64_t row, int64_t group, float *scratch) {
  const int64_t N = s.states, K = s.interval;
  // The same groups whatever the threads, so the sums over channels are the same to the last bit.
  const int64_t begin = group * blocks(s) / s.groups, end = (group + 1) * blocks(s) / s.groups;
  Adjoints a(s, scratch, end - begin);
  for (int64_t block = begin; block < end; ++block) {
    const int64_t member = block - begin;
    rates(a.A + member * N, Channels(s, row, block));
    gather(a.dh + member * N, s.dfinal, Channels(s, row, block));
    memset((void *)(a.dA + member * N), 0, N * sizeof(Vector));
    a.dD[member] = Vector{};
  }
  for (int64_t start = (s.length - 1) / K * K; start >= 0; start -= K) {
    a.i.begin(s, start);
    memset((void *)a.dB, 0, 2 * K * N * sizeof(Vector));
    for (int64_t block = begin; block < end; ++block) reverse(Channels(s, row, block), a, block - begin);
    const int64_t here = ((group * s.batch + row) * s.length + start) * N;
    for (int64_t j = 0; j < a.i.steps * N; ++j) {
      s.dB[here + j] = sum(a.dB[j]);
      s.dC[here + j] = sum(a.dC[j]);
    }
  }
  for (int64_t block = begin; block < end; ++block) {
    const int64_t member = block - begin;
    const Channels c(s, row, block);
    scatter(s.dstate, a.dh + member * N, c);
    for (int64_t n = 0; n < N; ++n)
      store(s.dA + (row * N + n) * s.channels + c.first, a.dA[member * N + n], c.count);
    store(s.dD + row * s.channels + c.first, a.dD[member], c.count);
  }
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
