// The coordinates of a lattice vertex packed into one number, its key.
//
// Packing is linear, with bounds worked out beforehand: a step to a neighbour is an addition, and nothing can wrap.
// 64 bits hold the usual kernel widths, 128 bits narrower ones.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace crf {

using WideKey = unsigned __int128;

inline size_t hash_of(uint64_t key) { return key * 0x9E3779B97F4A7C15ull; }
inline size_t hash_of(WideKey key) { return hash_of(uint64_t(key) ^ hash_of(uint64_t(key >> 64))); }

// Bounds of every feature, in units of the kernel's width.
template <int D>
struct FeatureBounds {
    float low[D], high[D];
};

// The length of axis i of the embedding (Adams et al., section 3.1), for which the blur of the lattice is the kernel.
template <int D>
double axis_scale(int i) {
    return (D + 1) * std::sqrt(2.0 / 3.0) / std::sqrt((i + 1.0) * (i + 2.0));
}

template <int D, class Key>
class KeyPacking {
  public:
    // Whether keys between these bounds fit in the type.
    static bool fits(const FeatureBounds<D>& bounds) {
        return Box(bounds).volume < std::exp2(double(sizeof(Key) * 8 - 1));
    }

    KeyPacking() = default;
    explicit KeyPacking(const FeatureBounds<D>& bounds) {
        const Box box(bounds);
        Key all = 0;
        for (int i = 0; i < D; ++i) {
            multiplier[i] = Key(box.stride[i]);
            bias += Key(int64_t(-box.low[i])) * multiplier[i];
            all += multiplier[i];
        }
        for (int i = 0; i < D; ++i) step[i] = all - multiplier[i] * (D + 1);
        step[D] = all;
    }

    Key multiplier[D] = {};  // of each coordinate but the last, which follows from the others
    Key bias = 0;
    Key step[D + 1] = {};  // from a vertex to the next along each direction

  private:
    // Bounds of the lattice coordinates. These are linear in the features, so the features' bounds bound them.
    struct Box {
        double low[D];
        double stride[D];  // vertices in the box for one unit of each coordinate
        double volume = 1;

        explicit Box(const FeatureBounds<D>& bounds) {
            double below[D + 1] = {}, above[D + 1] = {};
            for (int i = 0; i < D; ++i) {
                const double scale = axis_scale<D>(i);
                for (int j = 0; j <= i; ++j) {
                    below[j] += scale * bounds.low[i];
                    above[j] += scale * bounds.high[i];
                }
                below[i + 1] -= (i + 1) * scale * bounds.high[i];
                above[i + 1] -= (i + 1) * scale * bounds.low[i];
            }
            for (int i = D - 1; i >= 0; --i) {
                low[i] = (std::floor(below[i] / (D + 1)) - 4) * (D + 1);
                const double span = (std::ceil(above[i] / (D + 1)) + 4) * (D + 1) - low[i] + 1;
                stride[i] = volume;
                volume *= std::exp2(std::ceil(std::log2(span)));  // a power of two: exact in a double
            }
        }
    };
};

}  // namespace crf
