// Numbers of bfloat16, the upper half of a float, read and written as the sixteen floats that are computed with.
#pragma once

#include "vectors.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace linsight {
namespace LINSIGHT_LEVEL {

typedef uint16_t Halves __attribute__((vector_size(REGISTER / 2)));
typedef uint32_t Words __attribute__((vector_size(REGISTER)));

// Of sixteen numbers, gcc 12 converts eight and eight, which takes five instructions in place of one.
#if defined(__AVX512F__)
INLINE Words words(Halves x) { return (Words)_mm512_cvtepu16_epi32((__m256i)x); }
INLINE Halves halves(Words x) { return (Halves)_mm512_cvtepi32_epi16((__m512i)x); }
#else
INLINE Words words(Halves x) { return __builtin_convertvector(x, Words); }
INLINE Halves halves(Words x) { return __builtin_convertvector(x, Halves); }
#endif

INLINE Floats widened(Halves x) { return (Floats)(words(x) << 16); }

// To the nearest, of two as near to the even one; NaN, of which rounding might make infinity or 0, stays NaN.
INLINE Halves narrowed(Floats x) {
  const Words bits = (Words)x, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, nan = (Words)(x != x);
  return halves((rounded & ~nan) | (nan & 0x7fc0));
}

INLINE Vector load(const uint16_t *from, int64_t count) {
  struct { Halves part[PARTS]; } all = {};
  if (count == LANES) memcpy(&all, from, sizeof all);
  else memcpy(&all, from, count * sizeof *from);
  Vector v;
  EACH v.part[i] = widened(all.part[i]);
  return v;
}

INLINE void store(uint16_t *to, Vector v, int64_t count) {
  struct { Halves part[PARTS]; } all;
  EACH all.part[i] = narrowed(v.part[i]);
  if (count == LANES) memcpy(to, &all, sizeof all);
  else memcpy(to, &all, count * sizeof *to);
}

}  // namespace LINSIGHT_LEVEL
}  // namespace linsight
