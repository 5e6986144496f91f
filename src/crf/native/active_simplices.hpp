// Simplices of a lattice with some of their pixels only: those that are not settled (see settling.hpp).

#pragma once

#include <cstddef>
#include <cstdint>

#include "lattice.hpp"
#include "memory.hpp"
#include "vertex_table.hpp"

namespace crf {

template <int Corners>
class ActiveSimplices {
    using Pixel = PixelWeights<Corners>;

  public:
    // Where those of a tile are.
    struct Place {
        size_t first_simplex, first_pixel;
        uint32_t simplices;
    };

    void clear() { pixel_count_ = simplex_count_ = 0; }
    size_t pixel_count() const { return pixel_count_; }

    TileSimplices<Corners> tile(const Place& place) const {
        const Simplex<Corners>* const begin = simplices_.data() + place.first_simplex;
        return {begin, begin + place.simplices, pixels_.data() + place.first_pixel};
    }

    Pixel* pixels(const Place& place) { return pixels_.data() + place.first_pixel; }

    // Adds the `count` pixels of a tile whose new place is not kNone, and gives them that place.
    Place add(const TileSimplices<Corners>& tile, const uint32_t* new_places, uint32_t count) {
        Place place{simplex_count_, pixel_count_, 0};
        SimplexOrder order;
        for_active(tile, new_places, [&](const Simplex<Corners>&, const Pixel*, uint32_t size) {
            order.count(size);
            ++place.simplices;
        });
        order.finish_counting();
        simplex_count_ += place.simplices;
        pixel_count_ += count;
        Simplex<Corners>* const simplices =
            simplices_.grow(simplex_count_, place.first_simplex) + place.first_simplex;
        Pixel* const pixels = pixels_.grow(pixel_count_, place.first_pixel) + place.first_pixel;
        for_active(tile, new_places, [&](const Simplex<Corners>& whole, const Pixel* pixel, uint32_t size) {
            Simplex<Corners>& simplex = simplices[order.place_simplex(size)];
            simplex = whole;
            simplex.pixels = size;
            Pixel* out = pixels + order.place_pixels(size);
            for (const Pixel* const end = pixel + whole.pixels; pixel < end; ++pixel) {
                if (new_places[pixel->pixel] == kNone) continue;
                *out = *pixel;
                out->pixel = new_places[pixel->pixel];
                ++out;
            }
        });
        return place;
    }

  private:
    // Calls work(simplex, its pixels, how many of them are active) where some are.
    template <class Work>
    static void for_active(const TileSimplices<Corners>& tile, const uint32_t* new_places, const Work& work) {
        const Pixel* pixel = tile.pixels;
        for (const Simplex<Corners>* simplex = tile.begin; simplex < tile.end; pixel += simplex->pixels, ++simplex) {
            uint32_t size = 0;
            for (uint32_t n = 0; n < simplex->pixels; ++n) size += new_places[pixel[n].pixel] != kNone;
            if (size) work(*simplex, pixel, size);
        }
    }

    Array<Pixel> pixels_;
    Array<Simplex<Corners>> simplices_;
    size_t pixel_count_ = 0, simplex_count_ = 0;
};

}  // namespace crf
