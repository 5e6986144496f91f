// The memory that one image needs. A calling thread keeps it for its next image: see inference.cpp.

#pragma once

#include <memory>
#include <vector>

#include "lattice.hpp"
#include "lattice_builder.hpp"
#include "memory.hpp"
#include "active_simplices.hpp"

namespace crf {

// What each thread that works on an image has for itself.
struct ThreadScratch {
    Array<float> features;           // of a row
    Array<float> score_row, blended_cells;
    Array<float> largest;            // log probability of each class in the band
    Array<float> values;             // of a tile: log probabilities, then Q
    Array<float> pruned_scale;       // of each pixel of a tile
    Array<float> mixed;              // of a vertex
    Array<int32_t> best_lane;        // of each pixel of a tile
    Array<float> best_value;
    Array<float> pruned_mass;        // of each pixel of a tile, while some of them settle
    Array<uint32_t> new_places;      // of each pixel of a tile, among the active ones; kNone: settled
    // Of the active pixels of the band, tile by tile.
    Array<uint16_t> active_pixels;   // place in the tile
    Array<float> active_scores;      // log probabilities
    ActiveSimplices<6> active_bilateral;
    ActiveSimplices<3> active_gaussian;
    std::vector<const float*> planes_in;
    std::vector<float*> planes_out;
};

struct Workspace {
    LatticeBuilder<5, uint64_t> builder;
    Lattice<5> bilateral;
    Array<float> ones;             // of each slot, while a lattice is normalised
    Array<float> log_sum_exp;      // of each pixel
    Array<float> pruned_mass;      // of each pixel
    Array<float> log_probabilities;  // of each pixel, where scores are as large as the image
    Array<float> score_map, kept_score_map;  // classes innermost
    Array<float> affinity_rows;    // of each kept class
    Array<float> sums[2];          // of each slot: of this iteration, and of the next
    Array<float> settled_sums;     // of each slot: what settled pixels add to the sums
    std::vector<std::unique_ptr<ThreadScratch>> threads;
};

}  // namespace crf
