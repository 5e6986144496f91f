// An image cut into bands, one for each thread, and these into tiles.
//
// Pixels are kept and visited tile by tile: what is near in the image is then near in memory, and the vertices of a
// tile stay in a core's own cache.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace crf {

struct Tile {
    int top, left, rows, columns;
    size_t first_pixel;  // its pixels follow, row by row
    size_t pixels() const { return size_t(rows) * columns; }
};

struct Tiling {
    Tiling(int height, int width, int bands);

    // Calls work(tile, number of the tile) for each tile of a band.
    template <class Work>
    void for_tiles(int band, const Work& work) const {
        for (size_t i = first_tile[band]; i < first_tile[band + 1]; ++i) work(tiles[i], i);
    }
    size_t pixels() const { return size_t(height) * width; }

    int height, width, bands;
    std::vector<Tile> tiles;
    std::vector<size_t> first_tile;  // of each band, and the end
};

}  // namespace crf
