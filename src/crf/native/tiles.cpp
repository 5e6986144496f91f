// An image cut into bands and tiles: see tiles.hpp.

#include "tiles.hpp"

#include <algorithm>

#include "layout.hpp"

namespace crf {
namespace {

// The place of a tile on the Morton curve, which keeps neighbours in both directions near.
uint64_t morton_code(int row, int column) {
    uint64_t code = 0;
    for (int bit = 0; bit < 20; ++bit)
        code |= uint64_t(row >> bit & 1) << (2 * bit + 1) | uint64_t(column >> bit & 1) << (2 * bit);
    return code;
}

}  // namespace

Tiling::Tiling(int height, int width, int bands) : height(height), width(width), bands(bands) {
    size_t pixel = 0;
    for (int band = 0; band < bands; ++band) {
        first_tile.push_back(tiles.size());
        const int begin = int(int64_t(height) * band / bands), end = int(int64_t(height) * (band + 1) / bands);
        for (int y = begin; y < end; y += kTile)
            for (int x = 0; x < width; x += kTile)
                tiles.push_back({y, x, std::min(kTile, end - y), std::min(kTile, width - x), 0});
        auto code = [begin](const Tile& tile) { return morton_code((tile.top - begin) / kTile, tile.left / kTile); };
        std::sort(tiles.begin() + first_tile[band], tiles.end(),
                  [code](const Tile& a, const Tile& b) { return code(a) < code(b); });
        for (size_t i = first_tile[band]; i < tiles.size(); ++i) {
            tiles[i].first_pixel = pixel;
            pixel += tiles[i].pixels();
        }
    }
    first_tile.push_back(tiles.size());
}

}  // namespace crf
