// What the library says of itself.

#include <cstdint>

#define EXPORTED extern "C" __attribute__((visibility("default")))

// The digest of the sources it was built from: another one than that of the sources beside it is refused.
EXPORTED const char *linsight_sources() { return LINSIGHT_SOURCES; }

// The levels that this processor has, best first.
EXPORTED const char *linsight_levels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
      return "avx512 avx2 portable";
    return "avx2 portable";
  }
#endif
  return "portable";
}
