// Scores, log probabilities, pruned classes: see scores.hpp.

#include "scores.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.hpp"

namespace crf {
namespace {

constexpr float kLogZero = -1e30f;  // score of the lanes that are not classes

struct ConstantRow {
    float values[kTile];
    constexpr explicit ConstantRow(float x) : values() {
        for (float& value : values) value = x;
    }
};
constexpr ConstantRow kZeros(0.f), kNoClass(kLogZero);

}  // namespace

Scores::Scores(const Request& request, const Tiling& tiling, Workspace& workspace)
    : request_(request),
      tiling_(tiling),
      workspace_(workspace),
      all_(workspace.score_map),
      kept_(workspace.kept_score_map) {
    for (int c = 0; c < request.classes; ++c) all_.numbers.push_back(c);
}

void Scores::begin() {
    workspace_.log_sum_exp.fit(tiling_.pixels());
    if (request_.stride) interleave_score_map(all_);
    if (stores_at_once()) workspace_.log_probabilities.fit(tiling_.pixels() * all_.lanes());
}

void Scores::normalise(int band) {
    ThreadScratch& scratch = *workspace_.threads[band];
    scratch.score_row.fit(kTile * all_.lanes());
    float* const largest = scratch.largest.fit(all_.lanes());
    std::fill_n(largest, all_.lanes(), kLogZero);
    tiling_.for_tiles(band, [&](const Tile& tile, size_t) {
        for (int i = 0; i < tile.rows; ++i) {
            const size_t pixel = tile.first_pixel + size_t(i) * tile.columns;
            float* const row =
                stores_at_once() ? &workspace_.log_probabilities[pixel * all_.lanes()] : scratch.score_row.data();
            read_scores(band, tile, i, all_, kZeros.values, row);
            kernels().log_softmax(row, &workspace_.log_sum_exp[pixel], largest, tile.columns, all_.vectors(),
                                  stores_at_once());
        }
    });
}

void Scores::choose_classes() {
    is_kept_.assign(request_.classes, 0);
    const float threshold = request_.prune > 0 ? std::log(request_.prune) : -INFINITY;
    for (int c = 0; c < request_.classes; ++c) {
        float largest = -INFINITY;
        for (int band = 0; band < tiling_.bands; ++band)
            largest = std::max(largest, workspace_.threads[band]->largest[c]);
        if (largest >= threshold - head_start(c) - 1e-5f) {
            kept_.numbers.push_back(c);
            is_kept_[c] = 1;
        }
    }
    if (request_.affinity) gather_affinity();
    if (request_.stride)
        interleave_score_map(kept_);
    else if (!stores_at_once())
        workspace_.log_probabilities.fit(tiling_.pixels() * kept_.lanes());
}

void Scores::read_tile(int thread, const Tile& tile, float* out) const {
    const size_t lanes = kept_.lanes();
    if (stores_at_once()) {
        std::copy_n(&workspace_.log_probabilities[tile.first_pixel * lanes], tile.pixels() * lanes, out);
        return;
    }
    for (int i = 0; i < tile.rows; ++i) {
        const size_t pixel = size_t(i) * tile.columns;
        read_scores(thread, tile, i, kept_, &workspace_.log_sum_exp[tile.first_pixel + pixel], out + pixel * lanes);
    }
}

void Scores::store_tile(const Tile& tile, const PixelWeights<6>* pixels, const float* rows) {
    if (request_.stride) return;  // up-sampling again is as fast as reading from memory
    const size_t lanes = kept_.lanes();
    float* out = &workspace_.log_probabilities[tile.first_pixel * lanes];
    for (size_t i = 0; i < tile.pixels(); ++i) out = std::copy_n(rows + pixels[i].pixel * lanes, lanes, out);
}

void Scores::read_row(int thread, const Tile& tile, int row, float* out) const {
    const size_t pixel = tile.first_pixel + size_t(row) * tile.columns;
    read_scores(thread, tile, row, all_, &workspace_.log_sum_exp[pixel], out);
}

// The largest message that a class can get from others, which a class that is pruned goes without.
float Scores::head_start(int number) const {
    if (!request_.affinity) return 0.f;
    const float* const row = request_.affinity + size_t(number) * request_.classes;
    float largest = 0.f;
    for (int c = 0; c < request_.classes; ++c)
        if (c != number) largest = std::max(largest, row[c]);
    return (request_.w1 + request_.w2) * largest;
}

void Scores::gather_affinity() {
    const size_t lanes = kept_.lanes();
    float* const rows = workspace_.affinity_rows.fit(kept_.count() * lanes);
    std::fill_n(rows, kept_.count() * lanes, 0.f);
    for (int from = 0; from < kept_.count(); ++from)
        for (int to = 0; to < kept_.count(); ++to)
            rows[from * lanes + to] =
                request_.affinity[size_t(kept_.numbers[to]) * request_.classes + kept_.numbers[from]];
}

void Scores::interleave_score_map(const Classes& classes) {
    const size_t cells = size_t(request_.rows) * request_.columns, lanes = classes.lanes();
    float* const out = classes.score_map.fit(cells * lanes);
    for (size_t k = 0; k < lanes; ++k) {
        const float* const in = k < size_t(classes.count()) ? request_.scores + classes.numbers[k] * cells : nullptr;
        for (size_t i = 0; i < cells; ++i) out[i * lanes + k] = in ? in[i] : kLogZero;
    }
}

// A row of the tile, classes innermost; `offset` is subtracted from all scores of a pixel.
void Scores::read_scores(int thread, const Tile& tile, int row, const Classes& classes, const float* offset,
                         float* out) const {
    ThreadScratch& scratch = *workspace_.threads[thread];
    const int y = tile.top + row;
    if (!request_.stride) {
        std::vector<const float*>& planes = scratch.planes_in;
        planes.assign(classes.lanes(), kNoClass.values);
        const float* const first = request_.scores + size_t(y) * request_.width + tile.left;
        for (int k = 0; k < classes.count(); ++k) planes[k] = first + classes.numbers[k] * tiling_.pixels();
        kernels().interleave(planes.data(), offset, out, tile.columns, classes.vectors());
        return;
    }
    const int stride = request_.stride, left = tile.left / stride;
    const int upper = y / stride, lower = std::min(upper + 1, request_.rows - 1);
    UpsampledRow upsampled;
    upsampled.upper = classes.score_map.data() + (size_t(upper) * request_.columns + left) * classes.lanes();
    upsampled.lower = classes.score_map.data() + (size_t(lower) * request_.columns + left) * classes.lanes();
    upsampled.fraction = float(y % stride) / stride;
    upsampled.cells = std::min((tile.left + tile.columns - 1) / stride + 2, request_.columns) - left;
    upsampled.blended = scratch.blended_cells.fit(size_t(upsampled.cells) * classes.lanes());
    upsampled.out = out;
    upsampled.offset = offset;
    upsampled.width = tile.columns;
    upsampled.stride = stride;
    upsampled.phase = tile.left % stride;
    upsampled.vectors = classes.vectors();
    kernels().upsample(upsampled);
}

}  // namespace crf
