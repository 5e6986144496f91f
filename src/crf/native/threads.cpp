// Threads that share one image: see threads.hpp.

#include "threads.hpp"

#include <cstdint>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace crf {
namespace {

// Arithmetic with denormals is slow, and numbers that small do not matter: takes them as zero as long as it lives.
class FlushDenormals {
  public:
#if defined(__x86_64__)
    FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(saved_); }

  private:
    unsigned saved_;
#elif defined(__aarch64__)
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        asm volatile("msr fpcr, %0" : : "r"(saved_ | (uint64_t(1) << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

  private:
    uint64_t saved_;
#else
    FlushDenormals() {}
#endif
};

}  // namespace

void Barrier::wait() {
    if (count_ == 1) return;
    const unsigned round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.fetch_add(1, std::memory_order_release);
        return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
        if (failed_.load(std::memory_order_relaxed)) throw std::runtime_error("another thread failed");
        if (spins > 2000) std::this_thread::yield();
    }
}

void run_in_threads(int count, Barrier& barrier, const std::function<void(int)>& work) {
    std::exception_ptr error;
    std::mutex error_mutex;
    auto guarded = [&](int thread) {
        FlushDenormals flush;
        try {
            work(thread);
        } catch (...) {
            {
                std::lock_guard<std::mutex> lock(error_mutex);
                if (!error) error = std::current_exception();
            }
            barrier.fail();
        }
    };
    std::vector<std::thread> others;
    for (int thread = 1; thread < count; ++thread) others.emplace_back(guarded, thread);
    guarded(0);
    for (auto& other : others) other.join();
    if (error) std::rethrow_exception(error);
}

}  // namespace crf
