// Scores: from class planes or a coarser score map to pixels with classes innermost, to log probabilities, and back.

#pragma once

#include "vectors.hpp"

namespace crf {
namespace {

void interleave(const float* const* planes, const float* offset, float* out, int width, int vectors) {
    const size_t lanes = size_t(vectors) * 8;
    int x = 0;
    for (; x + 8 <= width; x += 8)
        for (size_t k = 0; k < lanes; k += 8) {
            F8 r[8];
            for (int j = 0; j < 8; ++j) r[j] = load<F8>(planes[k + j] + x) - load<F8>(offset + x);
            transpose(r);
            for (int j = 0; j < 8; ++j) store(out + (x + j) * lanes + k, r[j]);
        }
    for (; x < width; ++x)
        for (size_t k = 0; k < lanes; ++k) out[x * lanes + k] = planes[k][x] - offset[x];
}

void deinterleave(const float* values, float* const* planes, int width, int vectors) {
    const size_t lanes = size_t(vectors) * 8;
    int x = 0;
    for (; x + 8 <= width; x += 8)
        for (size_t k = 0; k < lanes; k += 8) {
            F8 r[8];
            for (int j = 0; j < 8; ++j) r[j] = load<F8>(values + (x + j) * lanes + k);
            transpose(r);
            for (int j = 0; j < 8; ++j)
                if (planes[k + j]) store(planes[k + j] + x, r[j]);
        }
    for (; x < width; ++x)
        for (size_t k = 0; k < lanes; ++k)
            if (planes[k]) planes[k][x] = values[x * lanes + k];
}

template <class V>
CRF_INLINE void upsample_with(const UpsampledRow& row) {
    constexpr int kWidth = sizeof(V) / sizeof(float);
    const int lanes = row.vectors * 8;
    const V fraction = fill<V>(row.fraction), step = fill<V>(1.f / float(row.stride));
    for (int i = 0; i < row.cells * lanes; i += kWidth) {
        const V upper = load<V>(row.upper + i);
        store(row.blended + i, upper + fraction * (load<V>(row.lower + i) - upper));
    }
    const float* left = row.blended;
    for (int x = 0, phase = row.phase; x < row.width; phase = 0, left += lanes) {
        const int end = x + row.stride - phase < row.width ? x + row.stride - phase : row.width;
        const float* const right = left + lanes < row.blended + row.cells * lanes ? left + lanes : left;
        for (int k = 0; k < lanes; k += kWidth) {
            const V l = load<V>(left + k), change = load<V>(right + k) - l;
            V f = fill<V>(float(phase)) * step;
            for (int i = x; i < end; ++i, f += step)
                store(row.out + size_t(i) * lanes + k, (l - fill<V>(row.offset[i])) + f * change);
        }
        x = end;
    }
}
void upsample(const UpsampledRow& row) {
#if CRF_REGISTER_FLOATS == 16
    if (row.vectors % 2 == 0) return upsample_with<F16>(row);
#endif
    upsample_with<F8>(row);
}

template <int NV>
CRF_INLINE void log_softmax_of(float* scores, float* log_sum_exp, float* largest, int width, int vectors,
                               bool in_place) {
    using V = typename WidestVector<NV>::Type;
    constexpr size_t kWidth = sizeof(V) / sizeof(float);
    const size_t lanes = size_t(NV ? NV : vectors) * 8;
    static_assert(kTile % 8 == 0, "a row is whole vectors");
    float maxima[kTile], sums[kTile];
    for (int x = 0; x < width; ++x) {
        const float* const s = scores + x * lanes;
        F8 m = load<F8>(s);
        for (size_t k = 8; k < lanes; k += 8) m = max(m, load<F8>(s + k));
        maxima[x] = max_lane(m);
    }
    for (int x = 0; x < width; ++x) {
        const float* const s = scores + x * lanes;
        V e = {};
        for (size_t k = 0; k < lanes; k += kWidth) e += exponential(load<V>(s + k) - fill<V>(maxima[x]));
        sums[x] = sum_lanes(e);
    }
    for (int x = width; x % 8; ++x) maxima[x] = sums[x] = 1.f;
    for (int x = 0; x < width; x += 8) store(maxima + x, load<F8>(maxima + x) + logarithm(load<F8>(sums + x)));
    for (int x = 0; x < width; ++x) log_sum_exp[x] = maxima[x];
    for (size_t k = 0; k < lanes; k += kWidth) {
        V m = load<V>(largest + k);
        for (int x = 0; x < width; ++x) {
            const V log_p = load<V>(scores + x * lanes + k) - fill<V>(log_sum_exp[x]);
            if (in_place) store(scores + x * lanes + k, log_p);
            m = max(m, log_p);
        }
        store(largest + k, m);
    }
}
void log_softmax(float* scores, float* log_sum_exp, float* largest, int width, int vectors, bool in_place) {
    with_constant(vectors, [=](auto nv) {
        log_softmax_of<nv.value>(scores, log_sum_exp, largest, width, vectors, in_place);
    });
}

void exponentiate(float* values, const float* scale, int width, int vectors) {
    for (int x = 0; x < width; ++x)
        for (int k = 0; k < vectors * 8; k += 8) {
            float* const s = values + size_t(x) * vectors * 8 + k;
            store(s, exponential(load<F8>(s)) * fill<F8>(scale[x]));
        }
}

void argmax(const float* values, int32_t* lanes_out, float* largest, int pixels, int vectors) {
    const size_t lanes = size_t(vectors) * 8;
    for (int i = 0; i < pixels; i += 8) {
        F8 best = {};
        I8 best_lane = {};
        for (size_t k = 0; k < lanes; k += 8) {
            F8 r[8];
            for (int j = 0; j < 8; ++j) r[j] = load<F8>(values + (i + j < pixels ? i + j : i) * lanes + k);
            transpose(r);
            for (int j = 0; j < 8; ++j) {
                const I8 better = (r[j] > best) | ((k + j) ? I8{} : ~I8{});
                best = better ? r[j] : best;
                best_lane = better ? I8{} + int32_t(k + j) : best_lane;
            }
        }
        for (int j = 0; j < 8 && i + j < pixels; ++j) {
            lanes_out[i + j] = best_lane[j];
            largest[i + j] = best[j];
        }
    }
}

}  // namespace
}  // namespace crf
