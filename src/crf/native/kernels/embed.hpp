// Places pixels in the simplices of the permutohedral lattice, 8 pixels at a time.
//
// Section 3.1 of Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", EG 2010.

#pragma once

#include "vectors.hpp"

namespace crf {
namespace {

template <int D>
void embed(const float* const* features, const float* scale, EmbeddedRow row) {
    constexpr float kDown = 1.f / (D + 1), kUp = D + 1;
    const F8 zero = {}, one = fill<F8>(1.f), round = fill<F8>(12582912.f);
    for (int x = 0; x < row.count; x += 8) {
        F8 elevated[D + 1], base[D + 1];
        F8 tail = zero, total = zero;
        for (int i = D; i > 0; --i) {
            const F8 scaled = load<F8>(features[i - 1] + x) * fill<F8>(scale[i - 1]);
            elevated[i] = tail - fill<F8>(float(i)) * scaled;
            tail += scaled;
        }
        elevated[0] = tail;
        // The nearest vertex of remainder 0, and the rank of what is left of each coordinate.
        F8 apart[D + 1];
        for (int i = 0; i <= D; ++i) {
            base[i] = (elevated[i] * fill<F8>(kDown) + round) - round;
            total += base[i];
            apart[i] = elevated[i] - base[i] * fill<F8>(kUp);
        }
        I8 rank[D + 1];
        for (int i = 0; i <= D; ++i) rank[i] = __builtin_convertvector(total, I8);
        for (int i = 0; i <= D; ++i)
            for (int j = i + 1; j <= D; ++j) {
                const I8 less = apart[i] < apart[j];  // -1 where true
                rank[i] -= less;
                rank[j] += 1 + less;
            }
        // Ranks outside 0..d lead back into the plane; sorted by rank, differences are the weights.
        F8 by_rank[D + 1];
        for (int k = 0; k <= D; ++k) by_rank[k] = zero;
        I8 order = I8{};
        for (int i = 0; i <= D; ++i) {
            const I8 under = rank[i] < 0, over = rank[i] > D;  // -1 where true
            const I8 wrapped = over - under;                   // +1 under, -1 over
            rank[i] += wrapped * (D + 1);
            base[i] += __builtin_convertvector(wrapped, F8);
            const F8 v = (elevated[i] - base[i] * fill<F8>(kUp)) * fill<F8>(kDown);
            for (int k = 0; k <= D; ++k) by_rank[k] = (rank[i] == k) ? v : by_rank[k];
            order |= i << (rank[i] * 4);
            if (i < D) store(row.base + size_t(i) * row.padded + x, __builtin_convertvector(base[i], I8));
        }
        store(row.weights + x, one + by_rank[D] - by_rank[0]);
        for (int k = 1; k <= D; ++k)
            store(row.weights + size_t(k) * row.padded + x, by_rank[D - k] - by_rank[D - k + 1]);
        store(row.order + x, order);
    }
}

}  // namespace
}  // namespace crf
