// One step of a whole sequence model: tokens to vectors, all blocks, the last norm, logits. The model's state goes on
// in place. Products run over some rows at once, so that weights are read once for them.
#pragma once

#include "decode_mixers.h"

namespace linsight {
namespace decoding {

// x + mixer(norm(x)), then x + mlp(norm(x)) where there is an mlp.
struct Block {
  const float *norm, *mlp_norm;  // (dim,)
  Matrix out;                    // after the mixer
  Matrix gate_value, mlp_out;    // to gates, then as many values
  Mixing mixing;
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
  int64_t widest_y, widest_o;      // multiples of 64: of projections and logits; of what mixers give, and dim
  Embedding embedding;
  const Block *blocks;
  const float *norm;
  Matrix head;
  const float *bias;               // (outputs,)
  const int64_t *tokens;           // (batch,)
  int64_t *start, *recent, *place; // (batch,), (batch, window), (batch,)
  float *logits;                   // (batch, outputs)
  int64_t refused;                 // set where `acceptable` does not hold; nothing is then computed
};

}  // namespace decoding

namespace LINSIGHT_LEVEL {
namespace decode {

constexpr int64_t ROWS = 48;  // taken through all blocks at once
constexpr float EPSILON = 1e-5f;

// Vectors of some rows, which then have seen one token more.
static void embed(const Step &s, int64_t row, float *x) {
  const Embedding &e = s.embedding;
  const int64_t token = s.tokens[row], place = s.place[row];
  int64_t *recent = s.recent + row * e.window;
  if (place == 0) s.start[row] = token;
  memset(x, 0, s.dim * sizeof(float));
  const auto add = [&](const float *from) __attribute__((always_inline)) {
    each(s.dim, BODY { store(x + i, load(x + i, count) + load(from + i, count), count); });
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

// Token and place are in range, and no memory is one of other random features.
static bool acceptable(const Step &s, int64_t row) {
  for (const Block *b = s.blocks; b < s.blocks + s.num_blocks; ++b)
    if (const int64_t *draw = b->mixing.draw)
      if (draw[row] && draw[row] != b->mixing.own_draw) return false;
  const Embedding &e = s.embedding;
  const int64_t token = s.tokens[row], place = s.place[row];
  const bool first = place == 0 && e.starts;
  const int64_t start = (first ? token : s.start[row]) - e.vocabulary;
  if (place < 0 || (e.places && place >= e.places)) return false;
  if (e.starts && (start < 0 || start >= e.num_starts)) return false;
  return first || (token >= 0 && token < e.vocabulary);
}

// Memory of a call, in rows: the residual stream, what norms give, projections, what mixers give, values that the
// first layer relays; and that of one row in a mixer.
struct Buffers {
  float *x, *u, *y, *o, *first, *mixer;
  int64_t wide, wide_y, wide_o;  // of x and u; of y; of o and first
};

// One projection of some rows, from `place` on in y. A mixture with the token before stands in o for it.
static void project(const Projection &p, const float *shift, const Buffers &at, int64_t place, int64_t row,
                    int64_t rows) {
  const int64_t inputs = p.weights.inputs, outputs = p.weights.outputs;
  const float *x = p.input < 0 ? at.u : at.y + p.input;
  int64_t wide = p.input < 0 ? at.wide : at.wide_y;
  if (p.share || p.share_at >= 0) {
    for (int64_t r = 0; r < rows; ++r) {
      const float *now = at.u + r * at.wide, *before = shift + (row + r) * inputs;
      const float *share = p.share ? p.share : at.y + r * at.wide_y + p.share_at;
      each(inputs, BODY {
        const Vector own = load(now + i, count);
        store(at.o + r * at.wide_o + i, own + (load(before + i, count) - own) * load(share + i, count), count);
      });
    }
    x = at.o, wide = at.wide_o;
  }
  multiply(x, wide, rows, p.weights, at.y + place, at.wide_y, false);
  for (int64_t r = 0; (p.bias || p.function) && r < rows; ++r) {
    float *y = at.y + r * at.wide_y + place;
    each(outputs, BODY {
      const Vector given = load(y + i, count);
      store(y + i, value(p.function, p.bias ? given + load(p.bias + i, count) : given), count);
    });
  }
}

static void mix(const Block &b, const Buffers &at, int64_t dim, int64_t row, int64_t rows) {
  const Mixing &m = b.mixing;
  int64_t place = 0;
  for (const Projection *p = m.projections; p < m.projections + m.num_projections; ++p) {
    project(*p, m.shift, at, place, row, rows);
    place += p->weights.outputs;
    if (p > m.projections) continue;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < m.num_convolutions; ++i)
        convolve(m.convolutions[i], m.taps, row + r, at.y + r * at.wide_y);
  }
  for (int64_t r = 0; r < rows; ++r) {
    float *y = at.y + r * at.wide_y, *o = at.o + r * at.wide_o;
    if (m.shift) memcpy(m.shift + (row + r) * dim, at.u + r * at.wide, dim * sizeof(float));
    if (m.rates) scan(m, row + r, y, o);
    else mix(m, row + r, y, o, at.first + r * at.wide_o, at.mixer);
  }
  multiply(at.o, at.wide_o, rows, b.out, at.x, at.wide, true);
}

static void feed_forward(const Block &b, const Buffers &at, int64_t rows) {
  const int64_t hidden = b.gate_value.outputs / 2;
  multiply(at.u, at.wide, rows, b.gate_value, at.y, at.wide_y, false);
  for (int64_t r = 0; r < rows; ++r) {
    float *gate = at.y + r * at.wide_y;
    each(hidden, BODY {
      store(gate + i, silu(load(gate + i, count)) * load(gate + hidden + i, count), count);
    });
  }
  multiply(at.y, at.wide_y, rows, b.mlp_out, at.x, at.wide, true);
}

// Rows from `first` on, at most ROWS of them.
static void step(const Step &s, int64_t first, int64_t rows, float *memory) {
  Buffers at{};
  at.wide = padded(s.dim), at.wide_y = s.widest_y, at.wide_o = s.widest_o;
  at.x = memory, at.u = at.x + ROWS * at.wide, at.y = at.u + ROWS * at.wide;
  at.o = at.y + ROWS * at.wide_y, at.first = at.o + ROWS * at.wide_o, at.mixer = at.first + ROWS * at.wide_o;
  const auto norm = [&](const float *weight) {
    for (int64_t r = 0; r < rows; ++r) {
      float *u = at.u + r * at.wide;
      normalise(at.x + r * at.wide, s.dim, !s.rms, EPSILON, u);
      each(s.dim, BODY { store(u + i, load(u + i, count) * load(weight + i, count), count); });
    }
  };
  for (int64_t r = 0; r < rows; ++r) embed(s, first + r, at.x + r * at.wide);
  for (const Block *b = s.blocks; b < s.blocks + s.num_blocks; ++b) {
    norm(b->norm);
    mix(*b, at, s.dim, first, rows);
    if (!b->mlp_norm) continue;
    norm(b->mlp_norm);
    feed_forward(*b, at, rows);
  }
  const int64_t outputs = s.head.outputs;
  norm(s.norm);
  multiply(at.u, at.wide, rows, s.head, at.y, at.wide_y, false);
  for (int64_t r = 0; r < rows; ++r) {
    const float *y = at.y + r * at.wide_y;
    float *logits = s.logits + (first + r) * outputs;
    each(outputs, BODY { store(logits + i, load(y + i, count) + load(s.bias + i, count), count); });
  }
}

static void steps(Step &s, int64_t begin, int64_t end, float *memory) {
  for (int64_t row = begin; row < end; ++row)
    if (!acceptable(s, row)) return __atomic_store_n(&s.refused, 1, __ATOMIC_RELAXED);
  for (int64_t first = begin; first < end; first += ROWS)
    step(s, first, end - first < ROWS ? end - first : ROWS, memory);
}

}  // namespace decode
}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
