// One band's part of a lattice: places pixels in their simplices, and numbers the vertices that these meet.
//
// Adams et al., section 3.1; the vertices' coordinates come from the `embed` kernels, a row of a tile at a time.

#pragma once

#include <cstring>
#include <functional>

#include "kernels/kernels.hpp"
#include "lattice.hpp"
#include "memory.hpp"
#include "tiles.hpp"
#include "vertex_keys.hpp"
#include "vertex_table.hpp"

namespace crf {

// reader(y, x, count, features) sets features[i] to feature i of `count` pixels from (y, x) on, in units of the
// kernel's width; any finite numbers follow up to the next whole vector.
using FeatureReader = std::function<void(int, int, int, const float**)>;

template <int D, class Key>
class BandVertices {
  public:
    static constexpr int kCorners = D + 1;

    void clear() {
        table_.clear();
        std::memset(static_cast<void*>(known_simplices_.fit(size_t(1) << kMemoBits)), 0xFF,
                    sizeof(KnownSimplex) << kMemoBits);
        std::memset(static_cast<void*>(known_bases_.fit(size_t(1) << kMemoBits)), 0xFF, sizeof(KnownBase) << kMemoBits);
        order_.fit(kTile);
        base_keys_.fit(kTile);
        weights_.fit(kTile * kCorners);
        coordinates_.fit(kTile * D);
        simplices_.fit(kTile * kTile);
        simplex_of_pixel_.fit(kTile * kTile);
        pixels_.fit(kTile * kTile);
        next_pixel_.fit(kTile * kTile);
    }

    // Adds a tile's pixels and simplices to the lattice. Slots count from the band's first.
    void embed_tile(const Tile& tile, size_t number, const KeyPacking<D, Key>& packing, const FeatureReader& read,
                    Lattice<D>& lattice) {
        auto* const embed_row = D == 5 ? kernels().embed5 : kernels().embed2;
        float scale[D];
        for (int i = 0; i < D; ++i) scale[i] = float(axis_scale<D>(i));
        Key multiplier[D];
        for (int i = 0; i < D; ++i) multiplier[i] = packing.multiplier[i] * kCorners;
        const Key bias = packing.bias;
        const int count = tile.columns;
        Key* const base_keys = base_keys_.data();
        const uint32_t* const order = order_.data();
        const EmbeddedRow row{coordinates_.data(), weights_.data(), order_.data(), kTile, count};
        uint32_t simplex_count = 0;
        for (int y = 0; y < tile.rows; ++y) {
            const float* features[D];
            read(tile.top + y, tile.left, count, features);
            embed_row(features, scale, row);
            PixelWeights<kCorners>* const pixels = &pixels_[size_t(y) * count];
            uint32_t* const simplex_of_pixel = &simplex_of_pixel_[size_t(y) * count];
            for (int x = 0; x < count; ++x) {
                Key key = bias;
                for (int i = 0; i < D; ++i) key += Key(int64_t(row.base[i * kTile + x])) * multiplier[i];
                base_keys[x] = key;
                for (int k = 0; k < kCorners; ++k) pixels[x].weights[k] = row.weights[k * kTile + x];
                pixels[x].pixel = uint32_t(y * count + x);
            }
            for (int x = 0; x < count; ++x) {
                KnownSimplex& known = known_simplices_[memo_index(Key(base_keys[x] + Key(order[x]) * 0x9E3779B1u))];
                if (known.base != base_keys[x] || known.order != order[x]) {
                    find_corners(base_keys[x], order[x], packing, known.slots);
                    known.base = base_keys[x];
                    known.order = order[x];
                    known.tile = ~number;
                }
                if (known.tile != number) {
                    known.tile = number;
                    known.number = simplex_count++;
                    Simplex<kCorners>& simplex = simplices_[known.number];
                    std::memcpy(simplex.slots, known.slots, sizeof simplex.slots);
                    simplex.pixels = 0;
                }
                ++simplices_[known.number].pixels;
                simplex_of_pixel[x] = known.number;
            }
        }
        sort_pixels(tile, simplex_count, lattice);
        lattice.simplex_count[number] = simplex_count;
    }

    const VertexTable<Key>& table() const { return table_; }

    // For each vertex and direction the neighbour, where a simplex has shown it; kNone elsewhere.
    const uint32_t* neighbours() const { return neighbours_.data(); }

  private:
    static constexpr int kMemoBits = 10;
    static size_t memo_index(Key key) { return hash_of(key) >> (64 - kMemoBits); }

    // A simplex is named by its first corner, the nearest vertex of remainder 0, and the order of the coordinates.
    struct KnownSimplex {
        Key base;
        uint32_t order;
        uint32_t number;  // among those of the tile where it was met last
        size_t tile;
        uint32_t slots[kCorners];
    };
    struct KnownBase {
        Key key;
        uint32_t slot;
    };

    // From corner to corner of a simplex is one step along each direction in turn. Where an earlier simplex took a
    // step, its end is known without a look-up; so is the first corner where it was met lately.
    void find_corners(Key base, uint32_t order, const KeyPacking<D, Key>& packing, uint32_t* slots) {
        KnownBase& first = known_bases_[memo_index(base)];
        if (first.key != base) first = KnownBase{base, kNone};
        uint32_t* known = &first.slot;
        Key key = base;
        for (int k = 0; k < kCorners; ++k) {
            uint32_t slot = *known;
            if (slot == kNone) {
                const uint32_t count = table_.count();
                slot = table_.insert(key);
                *known = slot;
                if (slot == count) {
                    const size_t row = size_t(slot) * kCorners;
                    std::memset(neighbours_.grow(row + kCorners, row) + row, 0xFF, sizeof(uint32_t) * kCorners);
                }
            }
            const int direction = order >> (4 * (D - k)) & 15;
            slots[k] = slot;
            known = &neighbours_[size_t(slot) * kCorners + direction];
            key += packing.step[direction];
        }
        *known = slots[0];
    }

    void sort_pixels(const Tile& tile, uint32_t simplex_count, Lattice<D>& lattice) {
        SimplexOrder order;
        for (uint32_t i = 0; i < simplex_count; ++i) order.count(simplices_[i].pixels);
        order.finish_counting();
        Simplex<kCorners>* const sorted = lattice.simplices.data() + tile.first_pixel;
        for (uint32_t i = 0; i < simplex_count; ++i) {
            const Simplex<kCorners>& simplex = simplices_[i];
            sorted[order.place_simplex(simplex.pixels)] = simplex;
            next_pixel_[i] = order.place_pixels(simplex.pixels);
        }
        PixelWeights<kCorners>* const pixels = lattice.pixels.data() + tile.first_pixel;
        for (uint32_t i = 0; i < tile.pixels(); ++i) pixels[next_pixel_[simplex_of_pixel_[i]]++] = pixels_[i];
    }

    VertexTable<Key> table_;
    Array<uint32_t> neighbours_;
    // The last simplex, and the last first corner, of each hash: most are soon met again.
    Array<KnownSimplex> known_simplices_;
    Array<KnownBase> known_bases_;
    // A row of the tile, embedded.
    Array<float> weights_;
    Array<int32_t> coordinates_;
    Array<uint32_t> order_;
    Array<Key> base_keys_;
    // The tile, in the order in which simplices and pixels are met.
    Array<Simplex<kCorners>> simplices_;
    Array<PixelWeights<kCorners>> pixels_;
    Array<uint32_t> simplex_of_pixel_;
    Array<uint32_t> next_pixel_;  // of each simplex, while pixels are sorted
};

}  // namespace crf
