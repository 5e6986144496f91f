// How the data that the kernels work on lie in memory.
//
// The values of a pixel or a vertex are those of its classes, padded to whole vectors of `kLanes` floats: vectors run
// over classes. Pixels are kept tile by tile, and in a tile simplex by simplex: the values of a simplex' corners are
// then read, and their sums written, once for all its pixels.

#pragma once

#include <cstddef>
#include <cstdint>

namespace crf {

constexpr int kLanes = 8;  // floats in a vector
constexpr int kTile = 64;  // pixels on a side of a tile

// In a chain of vertices along a direction of the lattice, this bit marks the last one.
constexpr uint32_t kChainEnd = 0x80000000u;

// A simplex of the lattice in which pixels of a tile lie.
template <int Corners>
struct Simplex {
    uint32_t slots[Corners];  // where the values of its vertices are
    uint32_t pixels;          // how many pixels lie in it
};

// A pixel in its simplex.
template <int Corners>
struct PixelWeights {
    float weights[Corners];  // barycentric coordinates
    uint32_t pixel;          // place in the tile
};

// The simplices of a tile, and their pixels in the same order.
template <int Corners>
struct TileSimplices {
    const Simplex<Corners>* begin;
    const Simplex<Corners>* end;
    const PixelWeights<Corners>* pixels;
};

}  // namespace crf
