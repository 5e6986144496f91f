// All kernels, for the instruction set of the file that includes this one. That file defines CRF_REGISTER_FLOATS, the
// floats in a vector register: 4, 8 or 16.

#pragma once

#include "blur.hpp"
#include "embed.hpp"
#include "mean_field.hpp"
#include "scores.hpp"

namespace crf {
namespace {

constexpr Kernels make_table(const char* name) {
    return {name,         embed<5>, embed<2>,    interleave, deinterleave, upsample, log_softmax,
            exponentiate, argmax,   splat_first, slice,      slice_softmax, splat,    mix,
            blur};
}

}  // namespace
}  // namespace crf
