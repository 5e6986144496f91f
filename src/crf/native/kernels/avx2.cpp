// The kernels for x86-64 with AVX2 and FMA.

#include "kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define CRF_REGISTER_FLOATS 8
#include "table.hpp"

#if defined(__clang__)
#pragma clang attribute pop
#endif

namespace crf {
constexpr Kernels avx2_kernels = make_table("avx2");
}
#endif
