// What happens to the values of the vertices between two iterations: the blur, and the label compatibility.
//
// The blur is that of Adams, Baek & Davis, EG 2010. The label compatibility is applied to the blurred vertices, which
// are fewer than the pixels; it commutes with slicing.

#pragma once

#include "vectors.hpp"

namespace crf {
namespace {

// The label compatibility: each vertex' values times the affinity.
template <int NV>
CRF_INLINE void mix_vertices(float* values, size_t vertices, const float* rows, int classes, int vectors,
                             float* scratch) {
    using V = typename WidestVector<NV>::Type;
    constexpr size_t kWidth = sizeof(V) / sizeof(float);
    const size_t lanes = size_t(NV ? NV : vectors) * 8;
    for (size_t i = 0; i < vertices; ++i, values += lanes) {
        for (size_t k = 0; k < lanes; k += kWidth) {
            V a = {}, b = {};  // two sums: half the wait
            int c = 0;
            for (; c + 1 < classes; c += 2) {
                a += fill<V>(values[c]) * load<V>(rows + c * lanes + k);
                b += fill<V>(values[c + 1]) * load<V>(rows + (c + 1) * lanes + k);
            }
            if (c < classes) a += fill<V>(values[c]) * load<V>(rows + c * lanes + k);
            store(scratch + k, a + b);
        }
        for (size_t k = 0; k < lanes; k += kWidth) store(values + k, load<V>(scratch + k));
    }
}
void mix(float* values, size_t vertices, const float* affinity_rows, int classes, int vectors, float* scratch) {
    with_constant(vectors, [=](auto nv) {
        mix_vertices<nv.value>(values, vertices, affinity_rows, classes, vectors, scratch);
    });
}

// The blur (1/2, 1, 1/2) along chains, in place: one read and one write of each vertex.
template <int NV>
CRF_INLINE void blur_chains(float* values, const uint32_t* chain, size_t length, int vectors) {
    using V = typename WidestVector<NV>::Type;
    constexpr int kWidth = sizeof(V) / sizeof(float), kGroup = NV ? NV * 8 / kWidth : 1;
    constexpr size_t kAhead = 32;  // vertices to prefetch
    const size_t lanes = size_t(NV ? NV : vectors) * 8;
    const float link[2] = {0.5f, 0.f};
    if (!length) return;
    for (size_t k = 0; k < lanes; k += kGroup * kWidth) {
        float* const base = values + k;
        float* vertex = base + (chain[0] & ~kChainEnd) * lanes;
        V before[kGroup], here[kGroup];
        for (int v = 0; v < kGroup; ++v) {
            before[v] = fill<V>(0.f);
            here[v] = load<V>(vertex + v * kWidth);
        }
        for (size_t i = 0; i + 1 < length; ++i) {
            if (i + kAhead < length) {
                const float* const ahead = base + (chain[i + kAhead] & ~kChainEnd) * lanes;
                for (int v = 0; v < kGroup; v += 16 / kWidth) __builtin_prefetch(ahead + v * kWidth, 1);
            }
            const V half = fill<V>(link[chain[i] >> 31]);  // 0 at the end of a chain
            float* const next = base + (chain[i + 1] & ~kChainEnd) * lanes;
            for (int v = 0; v < kGroup; ++v) {
                const V after = load<V>(next + v * kWidth);
                store(vertex + v * kWidth, here[v] + before[v] + half * after);
                before[v] = half * here[v];
                here[v] = after;
            }
            vertex = next;
        }
        for (int v = 0; v < kGroup; ++v) store(vertex + v * kWidth, here[v] + before[v]);
    }
}
void blur(float* values, const uint32_t* chain, size_t length, int vectors) {
    with_constant(vectors, [=](auto nv) { blur_chains<nv.value>(values, chain, length, vectors); });
}

}  // namespace
}  // namespace crf
