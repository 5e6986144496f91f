// One iteration of mean field for a tile: slice, softmax, splat (blur.hpp has what happens between two iterations).
//
// Algorithm 1 of Kraehenbuehl & Koltun, NIPS 2011; splat, blur and slice of Adams, Baek & Davis, EG 2010. Each stage
// runs over the whole tile before the next begins: loads, exponential, sum and stores of one pixel are a long chain of
// waits; those of many pixels overlap.

#pragma once

#include "vectors.hpp"

namespace crf {
namespace {

// values = (scores, or values where scores is null) + messages, for the lanes of one vector.
template <int Corners, class V>
CRF_INLINE void slice_lattice(const TileSimplices<Corners>& tile, const float* blurred, const float* scores,
                              float* values, size_t lanes) {
    const PixelWeights<Corners>* pixel = tile.pixels;
    for (const Simplex<Corners>* simplex = tile.begin; simplex < tile.end; ++simplex) {
        V corner[Corners];
        for (int c = 0; c < Corners; ++c) corner[c] = load<V>(blurred + simplex->slots[c] * lanes);
        for (const PixelWeights<Corners>* const end = pixel + simplex->pixels; pixel < end; ++pixel) {
            float* const out = values + pixel->pixel * lanes;
            V a = load<V>(scores ? scores : out), b = fill<V>(pixel->weights[0]) * corner[0];  // two sums: half the wait
            for (int c = 1; c < Corners; c += 2) {
                a += fill<V>(pixel->weights[c]) * corner[c];
                if (c + 1 < Corners) b += fill<V>(pixel->weights[c + 1]) * corner[c + 1];
            }
            store(out, a + b);
            if (scores) scores += lanes;
        }
    }
}
template <class V>
CRF_INLINE void slice_lanes(const TileStep& step, size_t k, size_t lanes) {
    float* const values = step.values + k;
    if (step.scores)
        slice_lattice<6, V>(step.bilateral, step.bilateral_blurred + k, step.scores + k, values, lanes);
    else
        slice_lattice<6, V>(step.bilateral, step.bilateral_blurred + k, nullptr, values, lanes);
    slice_lattice<3, V>(step.gaussian, step.gaussian_blurred + k, nullptr, values, lanes);
}
// Copies the scores of the pixels to their values.
void copy_scores(const TileStep& step, size_t lanes) {
    const float* scores = step.scores;
    for (int i = 0; i < step.pixels; ++i, scores += lanes) {
        float* const out = step.values + step.bilateral.pixels[i].pixel * lanes;
        for (size_t k = 0; k < lanes; k += 8) store(out + k, load<F8>(scores + k));
    }
}
void slice(TileStep step) {
    constexpr size_t kLanesAtOnce = CRF_REGISTER_FLOATS == 16 ? 24 : 8;
    const size_t lanes = size_t(step.vectors) * 8;
    if (step.scores && lanes > kLanesAtOnce) {  // else each pass over the lanes would read the scores from memory
        copy_scores(step, lanes);
        step.scores = nullptr;
    }
    size_t k = 0;
#if CRF_REGISTER_FLOATS == 16
    for (; lanes - k >= 32 || lanes - k == 16; k += 16) slice_lanes<F16>(step, k, lanes);
    for (; k + 24 <= lanes; k += 24) slice_lanes<F24>(step, k, lanes);
#endif
    for (; k < lanes; k += 8) slice_lanes<F8>(step, k, lanes);
}

// Adds the values of the pixels to the sums of the vertices, for the lanes of one vector.
template <int Corners, class V>
CRF_INLINE void splat_lattice(const TileSimplices<Corners>& tile, const float* values, float* sums, size_t lanes) {
    const PixelWeights<Corners>* pixel = tile.pixels;
    for (const Simplex<Corners>* simplex = tile.begin; simplex < tile.end; ++simplex) {
        V sum[Corners];
        for (int c = 0; c < Corners; ++c) sum[c] = V{};
        for (const PixelWeights<Corners>* const end = pixel + simplex->pixels; pixel < end; ++pixel) {
            const V q = load<V>(values + pixel->pixel * lanes);
            for (int c = 0; c < Corners; ++c) sum[c] += fill<V>(pixel->weights[c]) * q;
        }
        V before[Corners];  // the corners of a simplex are distinct vertices: all reads before all writes
        for (int c = 0; c < Corners; ++c) before[c] = load<V>(sums + simplex->slots[c] * lanes);
        for (int c = 0; c < Corners; ++c) store(sums + simplex->slots[c] * lanes, before[c] + sum[c]);
    }
}
template <class V>
CRF_INLINE void splat_lanes(const TileStep& step, size_t k, size_t lanes) {
    splat_lattice<6, V>(step.bilateral, step.values + k, step.bilateral_sums + k, lanes);
    splat_lattice<3, V>(step.gaussian, step.values + k, step.gaussian_sums + k, lanes);
}
void splat(const TileStep& step) {
    const size_t lanes = size_t(step.vectors) * 8;
    size_t k = 0;
#if CRF_REGISTER_FLOATS == 16
    for (; lanes - k >= 32 || lanes - k == 16; k += 16) splat_lanes<F16>(step, k, lanes);
    for (; k + 24 <= lanes; k += 24) splat_lanes<F24>(step, k, lanes);
#endif
    for (; k < lanes; k += 8) splat_lanes<F8>(step, k, lanes);
}

CRF_INLINE void exponentials(float* x, size_t count) {
    size_t k = 0;
#if CRF_REGISTER_FLOATS == 16
    for (; k + 16 <= count; k += 16) store(x + k, exponential(load<F16>(x + k)));
#endif
    for (; k < count; k += 8) store(x + k, exponential(load<F8>(x + k)));
}

// The sums over the classes of up to eight pixels, of which `count` exist.
CRF_INLINE F8 pixel_sums(const float* x, size_t lanes, int count) {
    F8 r[8];
    for (int i = 0; i < 8; ++i) {
        const float* const pixel = x + (i < count ? i : 0) * lanes;
        r[i] = load<F8>(pixel);
        for (size_t k = 8; k < lanes; k += 8) r[i] += load<F8>(pixel + k);
    }
    return sums_of_lanes(r);
}

// The softmax of every pixel, with the mass of the pruned classes in the sum.
template <int NV>
CRF_INLINE void softmax(const TileStep& step, float* pruned_scale) {
    const int vectors = NV ? NV : step.vectors;
    const size_t lanes = size_t(vectors) * 8;
    constexpr int kBlock = 32;
    for (int begin = 0; begin < step.pixels; begin += kBlock) {
        const int count = begin + kBlock < step.pixels ? kBlock : step.pixels - begin;
        float* const x = step.values + begin * lanes;
        const float* const pruned_mass = step.pruned_mass + begin;
        float factors[kBlock], maxima[kBlock], pruned_factors[kBlock];
        if (step.subtract_max)
            for (int i = 0; i < count; ++i) {
                float* const pixel = x + i * lanes;
                F8 m = load<F8>(pixel);
                for (int v = 1; v < vectors; ++v) m = max(m, load<F8>(pixel + v * 8));
                maxima[i] = max_lane(m);
                for (int v = 0; v < vectors; ++v)
                    store(pixel + v * 8, load<F8>(pixel + v * 8) - fill<F8>(maxima[i]));
            }
        exponentials(x, count * lanes);
        for (int i = 0; i < count; i += 8) store(factors + i, pixel_sums(x + i * lanes, lanes, count - i));
        if (step.subtract_max)
            for (int i = 0; i < count; ++i) {
                const float down = exponential(fill<F8>(-maxima[i]))[0];
                factors[i] = 1.f / (factors[i] + pruned_mass[i] * down);
                pruned_factors[i] = factors[i] * down;
            }
        else
            for (int i = 0; i < count; ++i) pruned_factors[i] = factors[i] = 1.f / (factors[i] + pruned_mass[i]);
        for (int i = 0; i < count; ++i)
            for (int v = 0; v < vectors; ++v)
                store(x + i * lanes + v * 8, load<F8>(x + i * lanes + v * 8) * fill<F8>(factors[i]));
        if (pruned_scale)
            for (int i = 0; i < count; ++i) pruned_scale[begin + i] = pruned_factors[i];
    }
}

template <int NV>
CRF_INLINE void first_probabilities(const TileStep& step) {
    const size_t lanes = size_t(NV ? NV : step.vectors) * 8;
    for (int begin = 0; begin < step.pixels; begin += 8) {
        const int count = begin + 8 < step.pixels ? 8 : step.pixels - begin;
        float* const x = step.values + begin * lanes;
        exponentials(x, count * lanes);
        const F8 missing = max(fill<F8>(1.f) - pixel_sums(x, lanes, count), F8{});
        for (int i = 0; i < count; ++i) step.pruned_mass[begin + i] = missing[i];
    }
}

void splat_first(const TileStep& step) {
    with_constant(step.vectors, [&](auto nv) { first_probabilities<nv.value>(step); });
    splat(step);
}
void slice_softmax(const TileStep& step, float* pruned_scale) {
    slice(step);
    with_constant(step.vectors, [&](auto nv) { softmax<nv.value>(step, pruned_scale); });
}

}  // namespace
}  // namespace crf
