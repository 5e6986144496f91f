// The features of pixels: see features.hpp.

#include "features.hpp"

#include <algorithm>
#include <stdexcept>

#include "layout.hpp"

namespace crf {
namespace {

constexpr int kRow = kTile + kLanes;  // floats of a row of the buffer

// Float arithmetic places a pixel in its simplex as long as coordinates stay well below 2^24.
constexpr double kLargestFeature = 1 << 19;

template <int D>
void check(const FeatureBounds<D>& bounds, const char* problem) {
    for (float x : bounds.high)
        if (!(x < kLargestFeature)) throw std::invalid_argument(problem);
}

int padded(int count) { return (count + kLanes - 1) / kLanes * kLanes; }

// The last column is repeated: padding must not leave the bounds.
void write_position(const Request& request, int y, int left, int count, float sy, float sx, float* ys, float* xs) {
    for (int x = 0; x < padded(count); ++x) xs[x] = std::min(left + x, request.width - 1) / sx;
    std::fill_n(ys, padded(count), y / sy);
}

}  // namespace

FeatureBounds<5> bilateral_bounds(const Request& request) {
    const float colour = 255.f / request.srgb;
    const float x = (request.width - 1) / request.sx, y = (request.height - 1) / request.sy;
    const FeatureBounds<5> bounds{{0, 0, 0, 0, 0}, {x, y, colour, colour, colour}};
    check(bounds, "sxy or srgb is too small for an image of this size");
    return bounds;
}

FeatureBounds<2> gaussian_bounds(const Request& request) {
    constexpr const char* kProblem = "sg is too small for an image of this size";
    const FeatureBounds<2> bounds{{0, 0}, {(request.width - 1) / request.sg, (request.height - 1) / request.sg}};
    check(bounds, kProblem);
    if (!KeyPacking<2, uint64_t>::fits(bounds)) throw std::invalid_argument(kProblem);
    return bounds;
}

void read_bilateral(const Request& request, int y, int left, int count, Array<float>& buffer, const float** features) {
    float* const rows = buffer.fit(size_t(kRow) * 5);
    for (int i = 0; i < 5; ++i) features[i] = rows + size_t(i) * kRow;
    write_position(request, y, left, count, request.sy, request.sx, rows + kRow, rows);
    const size_t plane = size_t(request.height) * request.width, offset = size_t(y) * request.width + left;
    for (int c = 0; c < 3; ++c) {
        float* const out = rows + size_t(2 + c) * kRow;
        if (request.image_is_float) {
            const float* const in = static_cast<const float*>(request.image) + plane * c + offset;
            for (int x = 0; x < count; ++x) out[x] = in[x] / request.srgb;
        } else {
            const uint8_t* const in = static_cast<const uint8_t*>(request.image) + plane * c + offset;
            for (int x = 0; x < count; ++x) out[x] = float(in[x]) / request.srgb;
        }
        for (int x = count; x < padded(count); ++x) out[x] = out[count - 1];
    }
}

void read_gaussian(const Request& request, int y, int left, int count, Array<float>& buffer, const float** features) {
    float* const rows = buffer.fit(size_t(kRow) * 2);
    features[0] = rows;
    features[1] = rows + kRow;
    write_position(request, y, left, count, request.sg, request.sg, rows + kRow, rows);
}

}  // namespace crf
