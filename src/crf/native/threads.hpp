// Threads that share one image: how they start, meet and fail together.

#pragma once

#include <atomic>
#include <functional>

namespace crf {

// Threads wait here for each other. Once one has failed, `wait` throws in the others.
class Barrier {
  public:
    explicit Barrier(int count) : count_(count) {}
    void wait();
    void fail() { failed_.store(true); }

  private:
    const int count_;
    std::atomic<int> arrived_{0};
    std::atomic<unsigned> round_{0};
    std::atomic<bool> failed_{false};
};

// Calls work(0) in this thread and work(1) to work(count - 1) in new ones, with denormals taken as zero.
// Rethrows the first exception of any of them when all have ended.
void run_in_threads(int count, Barrier& barrier, const std::function<void(int)>& work);

}  // namespace crf
