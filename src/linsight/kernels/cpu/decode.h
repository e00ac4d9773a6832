// One step of a whole sequence model: tokens to vectors, all blocks, the last norm, logits. The model's state goes on
// in place. Products run over some rows at once, so that weights are read once for them.
#pragma once

#include "decode_mixers.h"

namespace linsight {
namespace decoding {

// x + mixer(norm(x)), then x + mlp(norm(x)) where there is an mlp.
struct Block {
  const float *norm, *mlp_norm;  // (dim,)
  Matrix project, out;           // before and after the mixer
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
  int64_t widest_y, widest_o;      // multiples of 64: of projections and logits, of what mixers give
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

}  // namespace decoding

namespace LINSIGHT_LEVEL {
namespace decode {

constexpr int64_t ROWS = 48;  // taken through all blocks at once
constexpr float EPSILON = 1e-5f;

// Layer norm without a bias, or RMS norm; the variance in a second pass, as a difference it would be rounded away.
static void normalise(const float *x, const float *weight, int64_t dim, bool rms, float *y) {
  float mean = 0;
  Vector total = {};
  if (!rms) {
    each(dim, BODY { total += load(x + i, count); });
    mean = sum(total) / dim;
  }
  total = {};
  each(dim, BODY {
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
  each(dim, BODY { store(y + i, (load(x + i, count) + all(-mean)) * factor * load(weight + i, count), count); });
}

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

static bool in_range(const Step &s, int64_t row) {
  const Embedding &e = s.embedding;
  const int64_t token = s.tokens[row], place = s.place[row];
  const bool first = place == 0 && e.starts;
  const int64_t start = (first ? token : s.start[row]) - e.vocabulary;
  if (place < 0 || (e.places && place >= e.places)) return false;
  if (e.starts && (start < 0 || start >= e.num_starts)) return false;
  return first || (token >= 0 && token < e.vocabulary);
}

// Memory of a call, in rows: the residual stream, what norms give, projections, what mixers give, and what a scan
// selects, whose rows are longer than a row of three numbers a head.
struct Buffers {
  float *x, *u, *y, *o, *z;
  int64_t wide;  // of x and u
};

static void mix(const Block &b, const Buffers &at, int64_t first, int64_t rows) {
  const Mixing &m = b.mixing;
  const int64_t wide_y = padded(b.project.outputs), wide_o = padded(m.heads * m.values);
  multiply(at.u, at.wide, rows, b.project, at.y, wide_y, false);
  if (m.rates) {
    const int64_t wide_z = padded(m.select.outputs);
    for (int64_t r = 0; r < rows; ++r) convolve(m.convolutions[0], m.taps, first + r, at.y + r * wide_y);
    multiply(at.y + m.v, wide_y, rows, m.select, at.z, wide_z, false);
    multiply(at.z, wide_z, rows, m.spread, at.o, wide_o, false);
    for (int64_t r = 0; r < rows; ++r) {
      float *o = at.o + r * wide_o;
      scan(m, first + r, at.y + r * wide_y, at.z + r * wide_z, o, o);
    }
  } else {
    for (int64_t r = 0; r < rows; ++r) mix(m, first + r, at.y + r * wide_y, at.o + r * wide_o, at.z);
  }
  multiply(at.o, wide_o, rows, b.out, at.x, at.wide, true);
}

static void feed_forward(const Block &b, const Buffers &at, int64_t rows) {
  const int64_t hidden = b.gate_value.outputs / 2, wide_y = padded(b.gate_value.outputs);
  multiply(at.u, at.wide, rows, b.gate_value, at.y, wide_y, false);
  for (int64_t r = 0; r < rows; ++r) {
    float *gate = at.y + r * wide_y;
    each(hidden, BODY {
      store(gate + i, silu(load(gate + i, count)) * load(gate + hidden + i, count), count);
    });
  }
  multiply(at.y, wide_y, rows, b.mlp_out, at.x, at.wide, true);
}

// Rows from `first` on, at most ROWS of them.
static void step(const Step &s, int64_t first, int64_t rows, float *memory) {
  const int64_t wide = padded(s.dim);
  Buffers at{memory, memory + ROWS * wide, memory + 2 * ROWS * wide, nullptr, nullptr, wide};
  at.o = at.y + ROWS * s.widest_y;
  at.z = at.o + ROWS * s.widest_o;
  const auto norm = [&](const float *weight) {
    for (int64_t r = 0; r < rows; ++r) normalise(at.x + r * wide, weight, s.dim, s.rms, at.u + r * wide);
  };
  for (int64_t r = 0; r < rows; ++r) embed(s, first + r, at.x + r * wide);
  for (const Block *b = s.blocks; b < s.blocks + s.num_blocks; ++b) {
    norm(b->norm);
    mix(*b, at, first, rows);
    if (!b->mlp_norm) continue;
    norm(b->mlp_norm);
    feed_forward(*b, at, rows);
  }
  const int64_t outputs = s.head.outputs, wide_y = padded(outputs);
  norm(s.norm);
  multiply(at.u, wide, rows, s.head, at.y, wide_y, false);
  for (int64_t r = 0; r < rows; ++r)
    each(outputs, BODY {
      store(s.logits + (first + r) * outputs + i, load(at.y + r * wide_y + i, count) + load(s.bias + i, count), count);
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
