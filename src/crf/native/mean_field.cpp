// Mean field: see mean_field.hpp.

#include "mean_field.hpp"

#include <algorithm>

namespace crf {

// With messages up to here, exponentials stay far below the largest float: see SAFE_MESSAGE_BOUND in torch_engine.py.
constexpr float kSafeMessageBound = 16;

MeanField::MeanField(const Request& request, const Tiling& tiling, Scores& scores, const Lattice<2>& gaussian,
                     Workspace& workspace, Barrier& barrier)
    : request_(request),
      tiling_(tiling),
      scores_(scores),
      workspace_(workspace),
      barrier_(barrier),
      lattices_(workspace.bilateral, gaussian),
      output_(request, scores, workspace),
      settling_(request, tiling, scores, lattices_, output_, workspace) {}

void MeanField::begin() {
    lattices_.set_vectors(scores_.kept().vectors());
    workspace_.pruned_mass.fit(tiling_.pixels());
    for (auto& sums : workspace_.sums) sums.fit(lattices_.size());
    for (int thread = 0; thread < tiling_.bands; ++thread) {
        workspace_.threads[thread]->values.fit(kTile * kTile * scores_.kept().lanes());
        workspace_.threads[thread]->mixed.fit(scores_.kept().lanes());
    }
    settling_.begin();
}

void MeanField::run(int thread) {
    tiling_.for_tiles(thread, [&](const Tile& tile, size_t number) { start_tile(thread, tile, number); });
    for (int iteration = 0; iteration + 1 < request_.iterations; ++iteration) iterate(thread, iteration);
    if (request_.iterations > 0)
        blur(thread, request_.iterations - 1);
    else  // no messages
        tiling_.for_tiles(thread, [&](const Tile&, size_t number) { lattices_.clear_tile(number, sums(0)); });
    tiling_.for_tiles(thread, [&](const Tile& tile, size_t number) { write_tile(thread, tile, number); });
}

// Q begins as the given probabilities: splats these.
void MeanField::start_tile(int thread, const Tile& tile, size_t number) {
    lattices_.clear_tile(number, sums(0));
    TileStep step = tile_step(thread, tile, number, 0);
    lattices_.set_sums(sums(0), step);
    scores_.read_tile(thread, tile, step.values);
    scores_.store_tile(tile, step.bilateral.pixels, step.values);
    kernels().splat_first(step);
    if (!scores_.any_pruned()) std::fill_n(step.pruned_mass, tile.pixels(), 0.f);
}

void MeanField::iterate(int thread, int iteration) {
    blur(thread, iteration);
    float* const next = sums(iteration + 1);
    const bool settles = settling_.is_due(iteration);
    tiling_.for_tiles(thread, [&](const Tile& tile, size_t number) {
        mix_tile(thread, number, iteration);
        const TileStep step = tile_step(thread, tile, number, iteration);
        if (!step.scores) scores_.read_tile(thread, tile, step.values);
        kernels().slice_softmax(step, nullptr);
        if (settling_.has_settled())
            lattices_.copy_tile(number, settling_.settled_sums(), next);
        else
            lattices_.clear_tile(number, next);
        kernels().splat(step);
        if (settles) settling_.settle(thread, tile, number, step);
    });
    if (!settles) return;
    barrier_.wait();
    if (thread == 0) settling_.finish();
    barrier_.wait();
}

void MeanField::write_tile(int thread, const Tile& tile, size_t number) {
    ThreadScratch& scratch = *workspace_.threads[thread];
    const int last = std::max(request_.iterations - 1, 0);
    mix_tile(thread, number, last);
    const TileStep step = tile_step(thread, tile, number, last);
    if (!step.scores) scores_.read_tile(thread, tile, step.values);
    if (request_.q) {
        float* const pruned_scale = scratch.pruned_scale.fit(tile.pixels());
        kernels().slice_softmax(step, pruned_scale);
        output_.write_q(thread, tile, step.values, pruned_scale);
        return;
    }
    kernels().slice(step);
    int32_t* const best_lane = scratch.best_lane.fit(step.pixels);
    kernels().argmax(step.values, best_lane, scratch.best_value.fit(step.pixels), step.pixels, step.vectors);
    const uint16_t* const active = settling_.has_settled() ? settling_.active_pixels(thread, number) : nullptr;
    for (int i = 0; i < step.pixels; ++i) output_.write_label(tile, active ? active[i] : i, best_lane[i]);
}

void MeanField::blur(int thread, int iteration) {
    lattices_.blur(thread, tiling_.bands, sums(iteration), barrier_);
    if (scores_.affinity_rows()) barrier_.wait();  // other bands copy aliases of the vertices that mix_tile changes
}

void MeanField::mix_tile(int thread, size_t number, int iteration) {
    if (const float* const rows = scores_.affinity_rows())
        lattices_.mix_tile(number, rows, scores_.kept().count(), workspace_.threads[thread]->mixed.data(),
                           sums(iteration));
}

TileStep MeanField::tile_step(int thread, const Tile& tile, size_t number, int iteration) const {
    TileStep step;
    if (settling_.has_settled()) {
        settling_.set_tile(thread, number, step);
    } else {
        lattices_.set_tile(number, tile.first_pixel, step);
        step.scores = scores_.stored_tile(tile);
        step.pixels = int(tile.pixels());
    }
    lattices_.set_blurred(sums(iteration), step);
    lattices_.set_sums(sums(iteration + 1), step);
    step.values = workspace_.threads[thread]->values.data();
    step.pruned_mass = &workspace_.pruned_mass[tile.first_pixel];
    step.vectors = scores_.kept().vectors();
    step.subtract_max = request_.message_bound > kSafeMessageBound;
    return step;
}

}  // namespace crf
