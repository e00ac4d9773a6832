// One step of a whole sequence model: tokens to vectors, all blocks, the last norm, logits. The model's state goes on
// in place. Products run over some rows at once, so that weights are read once for them, and each number is one sum
// in the order of the inputs: it does not depend on what other rows there are.
#pragma once

#include "vectors.h"

namespace linsight {

// Outputs in panels of 64, inputs one after another inside: (panel, input, output in panel), 0 beyond the outputs.
struct Matrix {
  const void *data;
  int64_t inputs, outputs, half;  // half: bfloat16, the upper half of a float
};

// x + mixer(norm(x)), then x + mlp(norm(x)) where there is an mlp.
struct Block {
  const float *norm, *mlp_norm;  // (dim,)
  Matrix project, out;           // to queries and keys (heads, keys), values (heads, values); from (heads, values)
  Matrix gate_value, mlp_out;    // to gates, then as many values
  int64_t heads, keys, values, map, normalise;
  float *state;  // (batch, heads, keys, values + normalise)
};

// Rows of tokens; a vector is the sum of those of the neighbours' values, of the start and of the place.
struct Embedding {
  int64_t vocabulary, num_starts, places, neighbours, window;  // starts: tokens from vocabulary on, at place 0
  const float *cells, *starts, *positions;  // (neighbours, vocabulary + 1, dim), (num_starts, dim), (places, dim)
  const int64_t *distances;                 // of the neighbours: 1 is the newest token
  const uint8_t *inside;                    // (places, neighbours): whether there is one; null: where one was seen
};

struct Step {
  int64_t dim, num_blocks, rms;
  Embedding embedding;
  const Block *blocks;
  const float *norm;
  Matrix head;
  const float *bias;               // (outputs,)
  const int64_t *tokens;           // (batch,)
  int64_t *start, *recent, *place; // (batch,), (batch, window), (batch,)
  float *logits;                   // (batch, outputs)
  int64_t refused;                 // set where a token or place is out of range; nothing is then computed
};

namespace LINSIGHT_LEVEL {
namespace decode {

constexpr int64_t PANEL = 64;
constexpr int64_t ROWS = 48;  // taken through all blocks at once
constexpr int64_t LANES_OF_REGISTER = REGISTER / sizeof(float);
constexpr float EPSILON = 1e-5f, FLOOR = 1e-6f;

enum Map { IDENTITY, ELU1, RELU, RELU2, SOFTMAX };

typedef uint16_t Halves __attribute__((vector_size(REGISTER / 2)));
typedef uint32_t Words __attribute__((vector_size(REGISTER)));

INLINE Floats read(const float *from) {
  Floats v;
  memcpy(&v, from, sizeof v);
  return v;
}

INLINE Floats read(const uint16_t *from) {
  Halves v;
  memcpy(&v, from, sizeof v);
  return (Floats)(__builtin_convertvector(v, Words) << 16);
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

template <class Body>
INLINE void each(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) body(i, LANES);
  if (i < count) body(i, count - i);
}

#define ELEMENTS [&](int64_t i, int64_t count) __attribute__((always_inline))

// Layer norm without a bias, or RMS norm; the variance in a second pass, as a difference it would be rounded away.
static void normalise(const float *x, const float *weight, int64_t dim, bool rms, float *y) {
  float mean = 0;
  Vector total = {};
  if (!rms) {
    each(dim, ELEMENTS { total += load(x + i, count); });
    mean = sum(total) / dim;
  }
  total = {};
  each(dim, ELEMENTS {
    Vector away = load(x + i, count);
    away += all(-mean);
    away = away * away;
    if (count < LANES) {
      Vector kept = {};
      memcpy(&kept, &away, count * sizeof(float));
      away = kept;
    }
    total += away;
  });
  const float factor = 1 / sqrtf(sum(total) / dim + EPSILON);
  each(dim, ELEMENTS { store(y + i, (load(x + i, count) + all(-mean)) * factor * load(weight + i, count), count); });
}

INLINE Vector mapped(Vector x, int64_t map) {
  Vector y;
  if (map == ELU1) {
    const Vector e = exponential(x);
    EACH y.part[i] = x.part[i] > 0 ? x.part[i] + 1 : e.part[i];
    return y;
  }
  EACH y.part[i] = x.part[i] < 0 ? Floats{} : x.part[i];
  return map == RELU2 ? y * y : y;
}

// Over the features of a head.
static void softmax(float *x, int64_t size) {
  float top = x[0], total = 0;
  bool whole = x[0] == x[0];
  for (int64_t i = 1; i < size; ++i) {
    top = x[i] > top ? x[i] : top;
    whole &= x[i] == x[i];
  }
  if (!whole) top = NAN;
  each(size, ELEMENTS { store(x + i, exponential(load(x + i, count) + all(-top)), count); });
  for (int64_t i = 0; i < size; ++i) total += x[i];
  each(size, ELEMENTS { store(x + i, load(x + i, count) * (1 / total), count); });
}

static void apply(int64_t map, float *x, int64_t heads, int64_t size) {
  if (map == SOFTMAX)
    for (int64_t h = 0; h < heads; ++h) softmax(x + h * size, size);
  else if (map != IDENTITY)
    each(heads * size, ELEMENTS { store(x + i, mapped(load(x + i, count), map), count); });
}

// S += k v^T, o = q^T S for WIDTH vectors of a head's values.
template <int WIDTH>
INLINE void update(float *state, int64_t columns, int64_t keys, const float *q, const float *k, const float *v,
                   float *o, int64_t count) {
  Vector values[WIDTH], out[WIDTH] = {};
  for (int i = 0; i < WIDTH; ++i) values[i] = load(v + i * LANES, count);
  for (int64_t row = 0; row < keys; ++row, state += columns)
    for (int i = 0; i < WIDTH; ++i) {
      Vector s = load(state + i * LANES, count);
      s += values[i] * k[row];
      store(state + i * LANES, s, count);
      out[i] += s * q[row];
    }
  for (int i = 0; i < WIDTH; ++i) store(o + i * LANES, out[i], count);
}

// One head of one row; `o` may lie where v lies.
static void attend(const Block &b, float *state, const float *q, const float *k, const float *v, float *o) {
  const int64_t columns = b.values + b.normalise;
  float denominator = 0;
  if (b.normalise) {
    float *sums = state + b.values;
    for (int64_t row = 0; row < b.keys; ++row, sums += columns) {
      *sums += k[row];
      denominator += *sums * q[row];
    }
    denominator = denominator < FLOOR ? FLOOR : denominator;
  }
  int64_t i = 0;
  for (; i + 2 * LANES <= b.values; i += 2 * LANES) update<2>(state + i, columns, b.keys, q, k, v + i, o + i, LANES);
  for (; i + LANES <= b.values; i += LANES) update<1>(state + i, columns, b.keys, q, k, v + i, o + i, LANES);
  if (i < b.values) update<1>(state + i, columns, b.keys, q, k, v + i, o + i, b.values - i);
  if (b.normalise) each(b.values, ELEMENTS { store(o + i, load(o + i, count) * (1 / denominator), count); });
}

// Vectors of some rows, which then have seen one token more.
static void embed(const Step &s, int64_t row, float *x) {
  const Embedding &e = s.embedding;
  const int64_t token = s.tokens[row], place = s.place[row];
  int64_t *recent = s.recent + row * e.window;
  if (place == 0) s.start[row] = token;
  memset(x, 0, s.dim * sizeof(float));
  const auto add = [&](const float *from) __attribute__((always_inline)) {
    each(s.dim, ELEMENTS { store(x + i, load(x + i, count) + load(from + i, count), count); });
  };
  for (int64_t n = 0; n < e.neighbours; ++n) {
    const int64_t distance = e.distances[n];
    int64_t value = distance == 1 ? token : recent[e.window - distance + 1];
    const bool there = e.inside ? e.inside[place * e.neighbours + n] : value >= 0;
    if (!there || value < 0 || value >= e.vocabulary) value = e.vocabulary;
    add(e.cells + (n * (e.vocabulary + 1) + value) * s.dim);
  }
  if (e.starts) add(e.starts + (s.start[row] - e.vocabulary) * s.dim);
  if (e.positions) add(e.positions + place * s.dim);
  if (e.window) {
    memmove(recent, recent + 1, (e.window - 1) * sizeof *recent);
    recent[e.window - 1] = token;
  }
  s.place[row] = place + 1;
}

static bool in_range(const Step &s, int64_t row) {
  const Embedding &e = s.embedding;
  const int64_t token = s.tokens[row], place = s.place[row];
  const bool first = place == 0 && e.starts;
  const int64_t start = (first ? token : s.start[row]) - e.vocabulary;
  if (place < 0 || (e.places && place >= e.places)) return false;
  if (e.starts && (start < 0 || start >= e.num_starts)) return false;
  return first || (token >= 0 && token < e.vocabulary);
}

// Rows from `first` on, at most ROWS of them.
static void step(const Step &s, int64_t first, int64_t rows, float *memory) {
  const int64_t wide = padded(s.dim);
  float *x = memory, *u = x + ROWS * wide, *y = u + ROWS * wide;
  for (int64_t r = 0; r < rows; ++r) embed(s, first + r, x + r * wide);
  for (const Block *b = s.blocks; b < s.blocks + s.num_blocks; ++b) {
    const int64_t keys = b->heads * b->keys, values = b->heads * b->values;
    int64_t wide_y = padded(b->project.outputs);
    for (int64_t r = 0; r < rows; ++r) normalise(x + r * wide, b->norm, s.dim, s.rms, u + r * wide);
    multiply(u, wide, rows, b->project, y, wide_y, false);
    for (int64_t r = 0; r < rows; ++r) {
      float *q = y + r * wide_y, *k = q + keys, *v = k + keys;
      float *state = b->state + (first + r) * keys * (b->values + b->normalise);
      apply(b->map, q, 2 * b->heads, b->keys);
      for (int64_t h = 0; h < b->heads; ++h, state += b->keys * (b->values + b->normalise))
        attend(*b, state, q + h * b->keys, k + h * b->keys, v + h * b->values, v + h * b->values);
    }
    multiply(y + 2 * keys, wide_y, rows, b->out, x, wide, true);
    if (!b->mlp_norm) continue;
    const int64_t hidden = b->gate_value.outputs / 2;
    wide_y = padded(b->gate_value.outputs);
    for (int64_t r = 0; r < rows; ++r) normalise(x + r * wide, b->mlp_norm, s.dim, s.rms, u + r * wide);
    multiply(u, wide, rows, b->gate_value, y, wide_y, false);
    for (int64_t r = 0; r < rows; ++r) {
      float *gate = y + r * wide_y;
      each(hidden, ELEMENTS {
        const Vector g = load(gate + i, count), e = exponential(g * -1.0f);
        Vector gated;
        for (int p = 0; p < PARTS; ++p) gated.part[p] = g.part[p] / (1 + e.part[p]);
        store(gate + i, gated * load(gate + hidden + i, count), count);
      });
    }
    multiply(y, wide_y, rows, b->mlp_out, x, wide, true);
  }
  const int64_t outputs = s.head.outputs, wide_y = padded(outputs);
  for (int64_t r = 0; r < rows; ++r) normalise(x + r * wide, s.norm, s.dim, s.rms, u + r * wide);
  multiply(u, wide, rows, s.head, y, wide_y, false);
  for (int64_t r = 0; r < rows; ++r)
    each(outputs, ELEMENTS {
      store(s.logits + (first + r) * outputs + i, load(y + r * wide_y + i, count) + load(s.bias + i, count), count);
    });
}

static void steps(Step &s, int64_t begin, int64_t end, float *memory) {
  for (int64_t row = begin; row < end; ++row)
    if (!in_range(s, row)) return __atomic_store_n(&s.refused, 1, __ATOMIC_RELAXED);
  for (int64_t first = begin; first < end; first += ROWS) step(s, first, end - first < ROWS ? end - first : ROWS, memory);
}

}  // namespace decode
}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
