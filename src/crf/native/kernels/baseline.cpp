// The kernels for any processor of the architecture.

#include "kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CRF_REGISTER_FLOATS 4
#include "table.hpp"

namespace crf {
constexpr Kernels baseline_kernels = make_table("baseline");
}
