// Pixels that settle: see settling.hpp.

#include "settling.hpp"

#include <algorithm>
#include <cmath>

namespace crf {

Settling::Settling(const Request& request, const Tiling& tiling, const Scores& scores, const LatticePair& lattices,
                   const Output& output, Workspace& workspace)
    : request_(request),
      tiling_(tiling),
      scores_(scores),
      lattices_(lattices),
      output_(output),
      workspace_(workspace),
      doubt_(std::min(0.1f * std::min(request.prune, 0.01f), std::exp(-request.message_bound))) {}

void Settling::begin() {
    if (!is_possible()) return;
    workspace_.settled_sums.fit(lattices_.size());
    next_active_.resize(tiling_.tiles.size());
    for (int thread = 0; thread < tiling_.bands; ++thread) {
        workspace_.threads[thread]->active_bilateral.clear();
        workspace_.threads[thread]->active_gaussian.clear();
    }
}

void Settling::settle(int thread, const Tile& tile, size_t number, TileStep step) {
    ThreadScratch& scratch = *workspace_.threads[thread];
    // active_pixels and active_scores grow as active_bilateral does, so one position serves for all three.
    const size_t first = scratch.active_bilateral.pixel_count();
    uint16_t* const active = scratch.active_pixels.grow(first + tile.pixels(), first) + first;
    const uint32_t count = find_active(scratch, tile, step, active);
    sum_settled(number, step, active, count);
    next_active_[number] = order_active(scratch, step, active, count);
    copy_scores(thread, tile, step, active, next_active_[number]);
}

uint32_t Settling::find_active(ThreadScratch& scratch, const Tile& tile, const TileStep& step, uint16_t* active) const {
    const size_t pixels = tile.pixels();
    int32_t* const best_lane = scratch.best_lane.fit(pixels);
    float* const best_value = scratch.best_value.fit(pixels);
    kernels().argmax(step.values, best_lane, best_value, step.pixels, step.vectors);
    uint32_t* const new_places = scratch.new_places.fit(pixels);
    uint32_t count = 0;
    for (size_t i = 0; i < pixels; ++i) {
        output_.write_label(tile, i, best_lane[i]);
        const bool is_settled = best_value[i] >= 1.f - doubt_;
        active[count] = uint16_t(i);
        new_places[i] = is_settled ? kNone : uint32_t(i);  // as before: order_active changes the order
        count += !is_settled;
    }
    return count;
}

void Settling::sum_settled(size_t number, TileStep step, const uint16_t* active, uint32_t count) {
    const size_t lanes = scores_.kept().lanes();
    for (uint32_t n = 0; n < count; ++n) std::fill_n(step.values + active[n] * lanes, lanes, 0.f);
    float* const sums = workspace_.settled_sums.data();
    lattices_.clear_tile(number, sums);
    lattices_.set_sums(sums, step);
    kernels().splat(step);
}

Settling::ActiveTile Settling::order_active(ThreadScratch& scratch, const TileStep& step, uint16_t* active,
                                            uint32_t count) const {
    uint32_t* const new_places = scratch.new_places.data();
    const ActiveSimplices<6>::Place bilateral = scratch.active_bilateral.add(step.bilateral, new_places, count);
    PixelWeights<6>* const weights = scratch.active_bilateral.pixels(bilateral);
    for (uint32_t n = 0; n < count; ++n) {
        active[n] = uint16_t(weights[n].pixel);
        new_places[active[n]] = weights[n].pixel = n;
    }
    return {int(count), bilateral, scratch.active_gaussian.add(step.gaussian, new_places, count)};
}

void Settling::copy_scores(int thread, const Tile& tile, const TileStep& step, const uint16_t* active,
                           const ActiveTile& place) {
    ThreadScratch& scratch = *workspace_.threads[thread];
    const size_t lanes = scores_.kept().lanes(), pixels = tile.pixels(), first = place.first();
    scores_.read_tile(thread, tile, step.values);
    float* scores = scratch.active_scores.grow((first + place.count) * lanes, first * lanes) + first * lanes;
    float* const pruned_mass = scratch.pruned_mass.fit(pixels);  // a copy: active pixels change their order
    std::copy_n(step.pruned_mass, pixels, pruned_mass);
    for (int n = 0; n < place.count; ++n) {
        scores = std::copy_n(step.values + active[n] * lanes, lanes, scores);
        step.pruned_mass[n] = pruned_mass[active[n]];
    }
}

void Settling::set_tile(int thread, size_t number, TileStep& step) const {
    const ThreadScratch& scratch = *workspace_.threads[thread];
    step.bilateral = scratch.active_bilateral.tile(active_[number].bilateral);
    step.gaussian = scratch.active_gaussian.tile(active_[number].gaussian);
    step.scores = scratch.active_scores.data() + active_[number].first() * scores_.kept().lanes();
    step.pixels = active_[number].count;
}

}  // namespace crf
