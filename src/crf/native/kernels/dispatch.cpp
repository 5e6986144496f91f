// Chooses the kernels for the processor at run time.

#include <cstdlib>
#include <string>

#include "kernels.hpp"

namespace crf {

const Kernels& kernels() {
#if defined(__x86_64__)
    static const Kernels& chosen = []() -> const Kernels& {
        const char* limit = std::getenv("CRF_NATIVE_LEVEL");
        const std::string level = limit ? limit : "avx512";
        __builtin_cpu_init();
        if (level == "baseline" || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
            return baseline_kernels;
        if (level == "avx2" || !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
            !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw"))
            return avx2_kernels;
        return avx512_kernels;
    }();
    return chosen;
#else
    return baseline_kernels;
#endif
}

}  // namespace crf
