// y = silu(gate) value of rows (gate, value), and its gradients: one pass each, the gate's sigmoid computed again.
#pragma once

#include "bfloat16.h"

namespace linsight {

// What ops/gated_silu hands over. x and dx are (rows, 2 width), y and dy (rows, width), all bfloat16 or all float.
struct GatedSilu {
  int64_t rows, width, interval, half;  // interval: rows of a unit
  const void *x;
  void *y;
  const void *dy;
  void *dx;
};

namespace LINSIGHT_LEVEL {

template <class Number>
static void gate(const GatedSilu &s, int64_t row) {
  const Number *gate = (const Number *)s.x + row * 2 * s.width, *value = gate + s.width;
  Number *y = (Number *)s.y + row * s.width;
  each(s.width, BODY { store(y + i, silu(load(gate + i, count)) * load(value + i, count), count); });
}

template <class Number>
static void gate_backward(const GatedSilu &s, int64_t row) {
  const Number *gate = (const Number *)s.x + row * 2 * s.width, *value = gate + s.width;
  const Number *dy = (const Number *)s.dy + row * s.width;
  Number *dgate = (Number *)s.dx + row * 2 * s.width, *dvalue = dgate + s.width;
  each(s.width, BODY {
    const Vector g = load(dy + i, count), x = load(gate + i, count), open = sigmoid(x), y = x * open;
    store(dvalue + i, g * y, count);
    store(dgate + i, g * load(value + i, count) * (open + y * (all(1) - open)), count);
  });
}

INLINE void gate(const GatedSilu &s, int64_t unit, bool backward) {
  const auto one = s.half ? (backward ? gate_backward<uint16_t> : gate<uint16_t>)
                          : (backward ? gate_backward<float> : gate<float>);
  const int64_t first = unit * s.interval, last = first + s.interval;
  for (int64_t row = first; row < last && row < s.rows; ++row) one(s, row);
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
