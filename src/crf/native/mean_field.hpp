// Mean field: the iterations, from log probabilities and lattices to the result.
//
// Algorithm 1 of Kraehenbuehl & Koltun, NIPS 2011. An iteration blurs the sums of the vertices, then slices, takes the
// softmax and splats into the sums of the next one, tile by tile. Q is stored only at the end.

#pragma once

#include <cstddef>

#include "kernels/kernels.hpp"
#include "lattice_pair.hpp"
#include "output.hpp"
#include "request.hpp"
#include "scores.hpp"
#include "settling.hpp"
#include "threads.hpp"
#include "tiles.hpp"
#include "workspace.hpp"

namespace crf {

class MeanField {
  public:
    MeanField(const Request& request, const Tiling& tiling, Scores& scores, const Lattice<2>& gaussian,
              Workspace& workspace, Barrier& barrier);

    // Allocates, when slots are numbered and classes chosen. In one thread.
    void begin();
    // All iterations and the result of a band. Every thread calls it.
    void run(int thread);

  private:
    void start_tile(int thread, const Tile& tile, size_t number);
    void iterate(int thread, int iteration);
    void write_tile(int thread, const Tile& tile, size_t number);

    void blur(int thread, int iteration);
    void mix_tile(int thread, size_t number, int iteration);

    TileStep tile_step(int thread, const Tile& tile, size_t number, int iteration) const;

    // The sums of the vertices that an iteration reads. It writes those of the next one.
    float* sums(int iteration) const { return workspace_.sums[iteration % 2].data(); }

    const Request& request_;
    const Tiling& tiling_;
    Scores& scores_;
    Workspace& workspace_;
    Barrier& barrier_;
    LatticePair lattices_;
    Output output_;
    Settling settling_;
};

}  // namespace crf
