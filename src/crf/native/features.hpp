// The features of pixels in the two kernels of the model, in units of the kernels' widths: position and colour for the
// bilateral kernel, position for the Gaussian.

#pragma once

#include "memory.hpp"
#include "request.hpp"
#include "vertex_keys.hpp"

namespace crf {

// Bounds of the features. Throw std::invalid_argument where a width is too small for float arithmetic.
FeatureBounds<5> bilateral_bounds(const Request& request);
FeatureBounds<2> gaussian_bounds(const Request& request);

// The features of `count` pixels from (y, left) on, and of more up to a whole vector; features[i] points into `buffer`.
void read_bilateral(const Request& request, int y, int left, int count, Array<float>& buffer, const float** features);
void read_gaussian(const Request& request, int y, int left, int count, Array<float>& buffer, const float** features);

}  // namespace crf
