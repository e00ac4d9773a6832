// y_t = bias + sum_i weight_i x_(t - taps + 1 + i), channel by channel, and its gradients; before the first token x is
// the state. Some tokens of a row are a unit, whose channels are taken in blocks that stay in the first-level cache.
#pragma once

#include "vectors.h"

namespace linsight {

// What ops/short_convolution hands over. Rows of x and dy have strides in floats, and numbers of a token lie side by
// side. Null: not given.
struct Convolution {
  int64_t batch, length, channels, taps, interval;
  const float *x, *weight, *bias, *state;  // weight (taps, channels), state (batch, taps - 1, channels)
  int64_t x_row, x_token;
  float *y;
  const float *dy;
  int64_t dy_row, dy_token;
  float *dx, *dstate;
  float *dweight, *dbias;                  // (units, taps, channels), (units, channels): the caller sums over units
};

namespace LINSIGHT_LEVEL {

constexpr int64_t BLOCK = 256;  // channels

// A unit: the tokens of an interval of a row. TAPS is 0 where it is not known.
template <int64_t TAPS>
struct Window {
  const Convolution &c;
  const int64_t taps, unit, row, first, last;
  const float *zeros;
  const float **seen, **seeing;  // the inputs that a token sees, and the gradients of the tokens that see it

  Window(const Convolution &c, int64_t unit, float *scratch)
      : c(c), taps(TAPS ? TAPS : c.taps), unit(unit), row(unit / intervals(c)),
        first(unit % intervals(c) * c.interval),
        last(first + c.interval < c.length ? first + c.interval : c.length), zeros(scratch),
        seen((const float **)(scratch + padded(c.channels))), seeing(seen + taps) {
    memset(scratch, 0, padded(c.channels) * sizeof(float));
  }

  static int64_t intervals(const Convolution &c) { return (c.length + c.interval - 1) / c.interval; }

  // Tokens are counted from the first of the call: those before it are in the state.
  const float *input(int64_t t) const {
    if (t >= 0) return c.x + row * c.x_row + t * c.x_token;
    return c.state ? c.state + (row * (taps - 1) + t + taps - 1) * c.channels : zeros;
  }

  const float *gradient(int64_t t) const {
    return t >= 0 && t < c.length ? c.dy + row * c.dy_row + t * c.dy_token : zeros;
  }

  int64_t here(int64_t t) const { return (row * c.length + t) * c.channels; }

  // The body for every block of channels, as many as there are from its first on.
  template <class Body>
  void blocks(Body body) const {
    for (int64_t from = 0; from < c.channels; from += BLOCK)
      body(from, c.channels - from < BLOCK ? c.channels - from : BLOCK);
  }

  void forward() const {
    blocks([&](int64_t from, int64_t size) {
      for (int64_t t = first; t < last; ++t) {
        for (int64_t j = 0; j < taps; ++j) seen[j] = input(t - taps + 1 + j) + from;
        const float *weight = c.weight + from;
        float *y = c.y + here(t) + from;
        each(size, BODY {
          Vector sum = c.bias ? load(c.bias + from + i, count) : Vector{};
          for (int64_t j = 0; j < taps; ++j) sum += load(seen[j] + i, count) * load(weight + j * c.channels + i, count);
          store(y + i, sum, count);
        });
      }
    });
  }

  void backward() const {
    float *dweight = c.dweight + unit * taps * c.channels, *dbias = c.dbias + unit * c.channels;
    memset(dweight, 0, taps * c.channels * sizeof(float));
    memset(dbias, 0, c.channels * sizeof(float));
    // The first interval also has what was before the first token.
    const int64_t start = first || !c.dstate ? first : 1 - taps;
    blocks([&](int64_t from, int64_t size) {
      for (int64_t t = start; t < last; ++t) {
        for (int64_t j = 0; j < taps; ++j) seeing[j] = gradient(t + taps - 1 - j) + from;
        const float *weight = c.weight + from;
        float *to = from + (t < 0 ? c.dstate + (row * (taps - 1) + t + taps - 1) * c.channels : c.dx + here(t));
        each(size, BODY {
          Vector sum = {};
          for (int64_t j = 0; j < taps; ++j)
            sum += load(seeing[j] + i, count) * load(weight + j * c.channels + i, count);
          store(to + i, sum, count);
        });
        if (t < 0) continue;
        for (int64_t j = 0; j < taps; ++j) seen[j] = input(t - taps + 1 + j) + from;
        const float *dy = gradient(t) + from;
        each(size, BODY {
          const Vector g = load(dy + i, count);
          store(dbias + from + i, load(dbias + from + i, count) + g, count);
          for (int64_t j = 0; j < taps; ++j) {
            float *sum = dweight + j * c.channels + from + i;
            store(sum, load(sum, count) + load(seen[j] + i, count) * g, count);
          }
        });
      }
    });
  }
};

template <int64_t TAPS>
static void convolve(const Convolution &c, int64_t unit, float *scratch, bool backward) {
  const Window<TAPS> window(c, unit, scratch);
  if (backward) window.backward();
  else window.forward();
}

INLINE void convolve(const Convolution &c, int64_t unit, float *scratch, bool backward) {
  // The loop over taps, unrolled where they are as many as most layers have.
  (c.taps == 4 ? convolve<4> : convolve<0>)(c, unit, scratch, backward);
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
