// Tokens pass, and a tile of the state stays in registers: it decays, is written to and read, in either order, from
// the first token on or from the last.
#pragma once

#include "vectors.h"

namespace linsight {
namespace LINSIGHT_LEVEL {

constexpr int64_t STEPS = 32;  // tokens that pass while a tile is in registers
constexpr int64_t ROWS = REGISTER == 64 ? 8 : 4;
constexpr int64_t FLOATS = REGISTER / sizeof(float);

// A step decays, then does these; or, from the end, does these and then decays.
enum Order { ADD_READ, READ_ADD, ADD_READ_BACK, READ_ADD_BACK };
enum Decay { NONE, BY_ROW, BY_LANE, BY_STEP };

// Lines of memory that the next chunk will need: on their way, a few a step, while this one is computed. Rows of a
// head lie too far apart for the processor to foresee them, and it waits where many are asked for at once.
class Ahead {
  static constexpr int64_t MOST = 64;  // of a token; where there are more, what is computed takes longer anyway
  int64_t tiles, count = 0, done = 0;
  uintptr_t line[MOST];
  int64_t stride[MOST];

 public:
  // Some of the lines. There may be no such token: nothing is read.
  struct Share {
    const uintptr_t *line;
    const int64_t *stride;
    int64_t count;

    // gcc 12 keeps these in a loop, and drops one that stands under an `if`.
    void step(int64_t i) const {
      for (int64_t l = 0; l < count; ++l) __builtin_prefetch((const void *)(line[l] + i * stride[l]));
    }
  };

  explicit Ahead(int64_t tiles) : tiles(tiles) {}

  // `size` numbers of a token, of `bytes` bytes each, and of the tokens after it.
  void add(const void *data, int64_t at, int64_t token, int64_t size, int64_t bytes) {
    for (int64_t i = 0; i < size && count < MOST; i += 64 / bytes, ++count) {
      line[count] = (uintptr_t)data + (at + i) * bytes;
      stride[count] = token * bytes;
    }
  }

  // What is for the next of the tiles.
  Share share() {
    const int64_t from = done * count / tiles, to = ++done * count / tiles;
    return {line + from, stride + from, to - from};
  }
};

// Of every step: what reads and what is written along the rows of a state, what is written along its lanes, what
// is read, and what decays.
struct Pass {
  const float *reads, *writes;
  int64_t rows, row_stride;
  const float *lanes;
  float *out;
  int64_t wide;  // lanes, a multiple of 16
  const float *decay;
  float *state;
  int64_t steps;
  Ahead *ahead;
};

template <int WIDTH>
INLINE void scale(Floats (&s)[ROWS][WIDTH], float factor) {
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) s[r][w] *= factor;
}

template <int WIDTH, Order order, Decay decay>
static void tile(const Pass &p, int64_t row, int64_t lane) {
  constexpr bool back = order == ADD_READ_BACK || order == READ_ADD_BACK;
  constexpr bool add_read = order == ADD_READ || order == ADD_READ_BACK;
  constexpr bool within = decay == BY_ROW || decay == BY_LANE;
  Floats s[ROWS][WIDTH];
  float *state = p.state + row * p.wide + lane;
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) s[r][w] = *(const Floats *)(state + r * p.wide + w * FLOATS);
  const Ahead::Share ahead = p.ahead ? p.ahead->share() : Ahead::Share{};
  for (int64_t i = 0; i < p.steps; ++i) {
    const int64_t t = back ? p.steps - 1 - i : i;
    ahead.step(i);
    const float *reads = p.reads + t * p.row_stride + row, *writes = p.writes + t * p.row_stride + row;
    const float *keep = p.decay;
    if (decay == BY_ROW) keep += t * p.row_stride + row;
    if (decay == BY_LANE) keep += t * p.wide + lane;
    // Apart from the sums, which a decay of 1, as most are, leaves the same to the bit, and as fast.
    const bool falls = decay == BY_STEP && keep[t] != 1;
    if (falls && !back) scale(s, keep[t]);
    float *out = p.out + t * p.wide + lane;
    Floats c[WIDTH], o[WIDTH], d[WIDTH];
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) {
      c[w] = *(const Floats *)(p.lanes + t * p.wide + lane + w * FLOATS);
      o[w] = *(const Floats *)(out + w * FLOATS);
      if (decay == BY_LANE) d[w] = *(const Floats *)(keep + w * FLOATS);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
      for (int w = 0; w < WIDTH; ++w) {
        if (decay == BY_ROW) d[w] = Floats{} + keep[r];
        if (within && !back) s[r][w] *= d[w];
        if (add_read) s[r][w] += c[w] * writes[r];
        o[w] += s[r][w] * reads[r];
        if (!add_read) s[r][w] += c[w] * writes[r];
        if (within && back) s[r][w] *= d[w];
      }
    if (falls && back) scale(s, keep[t]);
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) *(Floats *)(out + w * FLOATS) = o[w];
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
    for (int w = 0; w < WIDTH; ++w) *(Floats *)(state + r * p.wide + w * FLOATS) = s[r][w];
}

template <Order order, Decay decay>
static void pass(const Pass &p) {
  memset(p.out, 0, p.steps * p.wide * sizeof(float));
  int64_t lane = 0;
  for (; lane + 2 * FLOATS <= p.wide; lane += 2 * FLOATS)
    for (int64_t row = 0; row < p.rows; row += ROWS) tile<2, order, decay>(p, row, lane);
  if (lane < p.wide)
    for (int64_t row = 0; row < p.rows; row += ROWS) tile<1, order, decay>(p, row, lane);
}

// Some of the steps of a pass whose decay is by lane.
INLINE Pass part(Pass p, int64_t first, int64_t steps) {
  p.reads += first * p.row_stride;
  p.writes += first * p.row_stride;
  p.lanes += first * p.wide;
  p.out += first * p.wide;
  p.decay += first * p.wide;
  p.steps = steps;
  return p;
}

template <Order order, Decay decay>
static void pass(const Pass &p, bool decayed) {
  if (decayed) pass<order, decay>(p);
  else pass<order, NONE>(p);
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
