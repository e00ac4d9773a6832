// Products of some rows with the weights of a model, each number one sum in the order of the inputs: it does not
// depend on what other rows there are, nor on the level's tiles.
#pragma once

#include "bfloat16.h"

namespace linsight {
namespace decoding {

// Outputs in panels of 64, inputs one after another inside: (panel, input, output in panel), 0 beyond the outputs.
struct Matrix {
  const void *data;
  int64_t inputs, outputs, half;  // half: bfloat16
};

}  // namespace decoding

namespace LINSIGHT_LEVEL {
namespace decode {

using namespace decoding;

constexpr int64_t PANEL = 64;
constexpr int64_t LANES_OF_REGISTER = REGISTER / sizeof(float);

INLINE Floats read(const float *from) {
  Floats v;
  memcpy(&v, from, sizeof v);
  return v;
}

INLINE Floats read(const uint16_t *from) {
  Halves v;
  memcpy(&v, from, sizeof v);
  return widened(v);
}

INLINE int64_t padded(int64_t count) { return (count + PANEL - 1) / PANEL * PANEL; }

// `count` rows of x times WIDTH registers of a panel.
template <int COUNT, int WIDTH, class Weight>
static void tile(const float *x, int64_t wide_x, const Weight *w, int64_t inputs, float *y, int64_t wide_y, bool add) {
  Floats sums[COUNT][WIDTH] = {};
  for (int64_t k = 0; k < inputs; ++k, w += PANEL) {
    Floats weights[WIDTH];
#pragma GCC unroll 8
    for (int i = 0; i < WIDTH; ++i) weights[i] = read(w + i * LANES_OF_REGISTER);
#pragma GCC unroll 8
    for (int r = 0; r < COUNT; ++r)
#pragma GCC unroll 8
      for (int i = 0; i < WIDTH; ++i) sums[r][i] += weights[i] * x[r * wide_x + k];
  }
#pragma GCC unroll 8
  for (int r = 0; r < COUNT; ++r)
#pragma GCC unroll 8
    for (int i = 0; i < WIDTH; ++i) {
      float *to = y + r * wide_y + i * LANES_OF_REGISTER;
      if (add) sums[r][i] += read(to);
      memcpy(to, &sums[r][i], sizeof(Floats));
    }
}

// One row needs as many sums at once as a multiplication takes cycles; more rows share what is loaded.
constexpr int MANY = REGISTER == 64 ? 6 : REGISTER == 32 ? 6 : 4;
constexpr int WIDTH_OF_MANY = REGISTER == 64 ? 4 : 2;
constexpr int WIDTH_OF_ONE = REGISTER == 64 ? 4 : 8;

template <int COUNT, int WIDTH, class Weight>
static void across(const float *x, int64_t wide_x, const Weight *panel, int64_t inputs, float *y, int64_t wide_y,
                   bool add) {
  constexpr int64_t lanes = WIDTH * LANES_OF_REGISTER;
  for (int64_t i = 0; i < PANEL; i += lanes) tile<COUNT, WIDTH>(x, wide_x, panel + i, inputs, y + i, wide_y, add);
}

template <class Weight>
static void panel(const float *x, int64_t wide_x, int64_t rows, const Weight *w, int64_t inputs, float *y,
                  int64_t wide_y, bool add) {
  for (; rows >= MANY; rows -= MANY, x += MANY * wide_x, y += MANY * wide_y)
    across<MANY, WIDTH_OF_MANY>(x, wide_x, w, inputs, y, wide_y, add);
  switch (rows) {
    case 5: return across<5, WIDTH_OF_MANY>(x, wide_x, w, inputs, y, wide_y, add);
    case 4: return across<4, WIDTH_OF_MANY>(x, wide_x, w, inputs, y, wide_y, add);
    case 3: return across<3, WIDTH_OF_MANY>(x, wide_x, w, inputs, y, wide_y, add);
    case 2: return across<2, WIDTH_OF_MANY>(x, wide_x, w, inputs, y, wide_y, add);
    case 1: return across<1, WIDTH_OF_ONE>(x, wide_x, w, inputs, y, wide_y, add);
  }
}

// y = x M, or y += x M. Rows of y have room for whole panels.
static void multiply(const float *x, int64_t wide_x, int64_t rows, const Matrix &m, float *y, int64_t wide_y,
                     bool add) {
  for (int64_t first = 0; first < m.outputs; first += PANEL) {
    const int64_t at = first * m.inputs;
    if (m.half) panel(x, wide_x, rows, (const uint16_t *)m.data + at, m.inputs, y + first, wide_y, add);
    else panel(x, wide_x, rows, (const float *)m.data + at, m.inputs, y + first, wide_y, add);
  }
}

}  // namespace decode
}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
