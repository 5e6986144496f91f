// The kernels for x86-64 with AVX-512 (F, VL, DQ, BW).

#include "kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("fma,avx512f,avx512vl,avx512dq,avx512bw"))), apply_to = function)
#else
#pragma GCC target("fma,avx512f,avx512vl,avx512dq,avx512bw")
#endif

#define CRF_REGISTER_FLOATS 16
#include "table.hpp"

#if defined(__clang__)
#pragma clang attribute pop
#endif

namespace crf {
constexpr Kernels avx512_kernels = make_table("avx512");
}
#endif
