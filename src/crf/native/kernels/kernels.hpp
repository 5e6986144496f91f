// The kernels: what takes the time, in vector code that is compiled once for each instruction set.
//
// baseline.cpp, avx2.cpp and avx512.cpp each set the compiler's target and include table.hpp, the code of all kernels.
// That code lies in an unnamed namespace and uses no function of a library, so that the linker never takes a function
// compiled for one instruction set for another's. All else is compiled for the baseline.

#pragma once

#include <cstddef>
#include <cstdint>

#include "../layout.hpp"

namespace crf {

// A row of pixels, embedded in the lattice (5 or 2 features). Each array has `padded` elements for each entry.
struct EmbeddedRow {
    int32_t* base;    // d coordinates of the nearest vertex of remainder 0, divided by d + 1
    float* weights;   // d + 1 barycentric coordinates
    uint32_t* order;  // the coordinates in order of their rank, 4 bits each
    int padded;
    int count;  // pixels
};

// A part of one row of the image, up-sampled from the score map.
struct UpsampledRow {
    const float* upper;   // cells x vectors x 8: the rows of cells above and below
    const float* lower;
    float fraction;       // of the way from the upper to the lower
    float* blended;       // cells x vectors x 8, scratch
    float* out;           // width x vectors x 8
    const float* offset;  // width: subtracted from all scores of a pixel
    int cells, width, stride;
    int phase;  // pixels from the first cell to the first pixel
    int vectors;
};

// A tile in one iteration.
struct TileStep {
    TileSimplices<6> bilateral;
    TileSimplices<3> gaussian;
    const float* scores;             // log probabilities in the order of the bilateral pixels; null: in values
    float* values;                   // pixels x vectors x 8: log probabilities with messages, then Q
    float* pruned_mass;              // of each pixel, the probability of the pruned classes together
    const float* bilateral_blurred;  // of each slot
    const float* gaussian_blurred;
    float* bilateral_sums;           // of each slot, for the next iteration
    float* gaussian_sums;
    int pixels;
    int vectors;
    bool subtract_max;  // before exponentials, where they might overflow
};

struct Kernels {
    const char* name;

    // Places a row of pixels in the lattice. features: d rows; scale: of each axis.
    void (*embed5)(const float* const* features, const float* scale, EmbeddedRow row);
    void (*embed2)(const float* const* features, const float* scale, EmbeddedRow row);

    // Scores: class planes to pixels with classes innermost, minus an offset; and back, where a plane is not null.
    void (*interleave)(const float* const* planes, const float* offset, float* out, int width, int vectors);
    void (*deinterleave)(const float* values, float* const* planes, int width, int vectors);
    void (*upsample)(const UpsampledRow& row);
    // The log sum exp of each pixel; raises the largest log probability of each class; writes log probabilities in the
    // place of the scores if `in_place`.
    void (*log_softmax)(float* scores, float* log_sum_exp, float* largest, int width, int vectors, bool in_place);
    // Values to scale * exp(values), one scale for each pixel.
    void (*exponentiate)(float* values, const float* scale, int width, int vectors);
    // The lane of each pixel's largest value, the first of equals, and the value.
    void (*argmax)(const float* values, int32_t* lanes, float* largest, int pixels, int vectors);

    // Mean field. splat_first: probabilities and the pruned mass from log probabilities, splat. slice: adds the
    // messages to the log probabilities. slice_softmax: Q from them, and where pruned_scale is not null, what
    // exp(log probability) of a pruned class is multiplied by. splat: adds Q to the sums.
    void (*splat_first)(const TileStep& step);
    void (*slice)(TileStep step);
    void (*slice_softmax)(const TileStep& step, float* pruned_scale);
    void (*splat)(const TileStep& step);
    // The values of each vertex times the affinity: classes x vectors x 8. scratch: vectors x 8.
    void (*mix)(float* values, size_t vertices, const float* affinity_rows, int classes, int vectors, float* scratch);
    // Blurs the values of vertices along chains.
    void (*blur)(float* values, const uint32_t* chain, size_t length, int vectors);
};

// Those for this processor. The environment variable CRF_NATIVE_LEVEL (baseline, avx2, avx512) sets a limit, for tests.
const Kernels& kernels();

extern const Kernels baseline_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
#endif

}  // namespace crf
