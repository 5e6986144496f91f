// The permutohedral lattice of an image, as far as filtering needs it.
//
// Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
//
// A slot holds the values of a vertex as one band knows it. Each band numbers its vertices by itself, so threads splat
// without locks. Where an earlier band has the same vertex, the slot is an alias of that one, the original: aliases are
// added to their originals before the blur, and take their values after it.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "layout.hpp"
#include "memory.hpp"

namespace crf {

struct Alias {
    uint32_t slot, original;
};

template <int D>
struct Lattice {
    static constexpr int kCorners = D + 1;

    Array<PixelWeights<kCorners>> pixels;  // tile by tile; the weights hold the kernel's weight and normalisation
    Array<Simplex<kCorners>> simplices;    // those of a tile begin at the place of its first pixel
    std::vector<uint32_t> simplex_count;   // of each tile
    Array<uint32_t> chains[kCorners];      // for each direction its originals, neighbour after neighbour
    std::vector<size_t> cuts[kCorners];    // where each thread's share of the chains begins, and the end
    std::vector<std::vector<Alias>> aliases;  // of each band
    std::vector<uint32_t> first_slot;         // of each tile, and the end: slots are numbered as they are first met
    size_t slots = 0;

    size_t bytes() const {
        size_t sum = pixels.capacity_bytes() + simplices.capacity_bytes();
        for (const auto& chain : chains) sum += chain.capacity_bytes();
        return sum;
    }
    TileSimplices<kCorners> tile(size_t number, size_t first_pixel) const {
        const Simplex<kCorners>* const begin = simplices.data() + first_pixel;
        return {begin, begin + simplex_count[number], pixels.data() + first_pixel};
    }
};

// Sorts simplices by their number of pixels, so that branches of loops over these are predicted. First count all
// sizes, then ask where each goes.
class SimplexOrder {
  public:
    void count(uint32_t size) {
        if (size >= kLargest) return;
        simplices_[size + 1] += 1;
        pixels_[size + 1] += size;
    }
    void finish_counting() {
        for (uint32_t size = 1; size <= kLargest; ++size) {
            simplices_[size] += simplices_[size - 1];
            pixels_[size] += pixels_[size - 1];
        }
    }
    uint32_t place_simplex(uint32_t size) { return simplices_[std::min(size, kLargest)]++; }
    uint32_t place_pixels(uint32_t size) {
        uint32_t& next = pixels_[std::min(size, kLargest)];
        next += size;
        return next - size;
    }

  private:
    static constexpr uint32_t kLargest = 64;  // larger ones follow in the order they are met
    uint32_t simplices_[kLargest + 1] = {}, pixels_[kLargest + 1] = {};
};

}  // namespace crf
