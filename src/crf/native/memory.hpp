// Memory of the engine: arrays that grow, are reused for the next image, and lie on huge pages where they are large.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace crf {

// An array of trivial values that are always written before they are read.
template <class T>
class Array {
  public:
    Array() = default;
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() { std::free(data_); }

    // Makes room for `size` elements. Their values are lost.
    T* fit(size_t size) {
        if (size > capacity_) {
            std::free(data_);
            data_ = nullptr;
            capacity_ = 0;
            data_ = static_cast<T*>(allocate(rounded_bytes(size)));
            capacity_ = rounded_bytes(size) / sizeof(T);
        }
        return data_;
    }
    // Makes room for `size` elements and keeps the first `used` of them.
    T* grow(size_t size, size_t used) {
        if (size > capacity_) {
            const size_t bytes = rounded_bytes(std::max(size, capacity_ * 2));
            T* larger = static_cast<T*>(allocate(bytes));
            if (used) std::memcpy(static_cast<void*>(larger), data_, used * sizeof(T));
            std::free(data_);
            data_ = larger;
            capacity_ = bytes / sizeof(T);
        }
        return data_;
    }
    size_t capacity_bytes() const { return capacity_ * sizeof(T); }
    T* data() const { return data_; }
    T& operator[](size_t i) const { return data_[i]; }

  private:
    static constexpr size_t kHugePage = size_t(1) << 21, kCacheLine = 64;

    // Always more than asked for: kernels may read a vector beyond the end.
    static size_t rounded_bytes(size_t size) {
        const size_t unit = size * sizeof(T) >= kHugePage ? kHugePage : kCacheLine;
        return (size * sizeof(T) + unit) / unit * unit;
    }
    static void* allocate(size_t bytes) {
        void* memory = nullptr;
        if (posix_memalign(&memory, bytes >= kHugePage ? kHugePage : kCacheLine, bytes)) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (bytes >= kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);  // lattice look-ups are scattered: spare the TLB
#endif
        return memory;
    }

    T* data_ = nullptr;
    size_t capacity_ = 0;
};

}  // namespace crf
