// Writes the result of an image, Q or labels, tile by tile.

#pragma once

#include <cstddef>
#include <cstdint>

#include "request.hpp"
#include "scores.hpp"
#include "tiles.hpp"
#include "workspace.hpp"

namespace crf {

class Output {
  public:
    Output(const Request& request, const Scores& scores, Workspace& workspace)
        : request_(request), scores_(scores), workspace_(workspace) {}

    // The label of a pixel of the tile: the class in that lane.
    void write_label(const Tile& tile, uint32_t pixel, int lane) const {
        const uint32_t columns = uint32_t(tile.columns);
        const size_t place = size_t(tile.top + pixel / columns) * request_.width + tile.left + pixel % columns;
        if (request_.labels8)
            request_.labels8[place] = uint8_t(scores_.kept().numbers[lane]);
        else
            request_.labels64[place] = scores_.kept().numbers[lane];
    }
    // Q of a tile: of the kept classes as it is, of the pruned ones exp(log probability) times a scale for each pixel.
    void write_q(int thread, const Tile& tile, const float* q, const float* pruned_scale) const;

  private:
    enum class Which { kKept, kPruned };
    void write_row(int thread, const Classes& classes, Which which, size_t place, int width, const float* values) const;

    const Request& request_;
    const Scores& scores_;
    Workspace& workspace_;
};

}  // namespace crf
