// Pixels that are nearly certain settle after a few iterations: they get their label, and what they add to the lattice
// is summed once. The iterations go on with the others, the active pixels.
//
// Our own shortcut, only where classes are pruned and labels are asked for. In every set tried it changed fewer than
// one label in 10,000.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "active_simplices.hpp"
#include "kernels/kernels.hpp"
#include "lattice_pair.hpp"
#include "output.hpp"
#include "request.hpp"
#include "scores.hpp"
#include "tiles.hpp"
#include "workspace.hpp"

namespace crf {

class Settling {
  public:
    Settling(const Request& request, const Tiling& tiling, const Scores& scores, const LatticePair& lattices,
             const Output& output, Workspace& workspace);

    // Allocates, when lattices are built and classes chosen. In one thread.
    void begin();

    // Whether pixels settle in this iteration (from 0).
    bool is_due(int iteration) const { return is_possible() && iteration + 1 == kIterations; }
    // Settles pixels of a tile. `step` is the tile's, with Q in its values.
    void settle(int thread, const Tile& tile, size_t number, TileStep step);
    // From now on only active pixels count, when all tiles are done. In one thread.
    void finish() { active_.swap(next_active_); }

    bool has_settled() const { return !active_.empty(); }

    // Once pixels have settled: what an iteration needs of the active ones, their places in the tile, and what the
    // settled ones add to the sums of all slots.
    void set_tile(int thread, size_t number, TileStep& step) const;
    const uint16_t* active_pixels(int thread, size_t number) const {
        return workspace_.threads[thread]->active_pixels.data() + active_[number].first();
    }
    const float* settled_sums() const { return workspace_.settled_sums.data(); }

  private:
    static constexpr int kIterations = 2;  // before pixels settle

    // The active pixels of a tile: how many, and where its thread has them.
    struct ActiveTile {
        int count;
        ActiveSimplices<6>::Place bilateral;
        ActiveSimplices<3>::Place gaussian;
        size_t first() const { return bilateral.first_pixel; }
    };

    // The steps of settle(). Writes the label of every pixel, and returns how many are active; `active` gets their places
    // in the tile.
    uint32_t find_active(ThreadScratch& scratch, const Tile& tile, const TileStep& step, uint16_t* active) const;
    // Adds Q of the settled pixels to the sums.
    void sum_settled(size_t number, TileStep step, const uint16_t* active, uint32_t count);
    // Copies the simplices of the active pixels, and gives these new places, in the order of the bilateral simplices.
    ActiveTile order_active(ThreadScratch& scratch, const TileStep& step, uint16_t* active, uint32_t count) const;
    // Copies the scores and the pruned mass of the active pixels, in their new order.
    void copy_scores(int thread, const Tile& tile, const TileStep& step, const uint16_t* active,
                     const ActiveTile& place);

    bool is_possible() const {
        return request_.prune > 0 && !request_.q && request_.iterations > kIterations && doubt_ > 1e-7f;
    }

    const Request& request_;
    const Tiling& tiling_;
    const Scores& scores_;
    const LatticePair& lattices_;
    const Output& output_;
    Workspace& workspace_;
    // Pixels settle where all classes but one have no more than this together. The one's lead is then about as large as
    // all messages together: a smaller one was found to be lost again where messages are strong and iterations many.
    const float doubt_;
    std::vector<ActiveTile> active_, next_active_;  // of each tile; empty until pixels have settled
};

}  // namespace crf
