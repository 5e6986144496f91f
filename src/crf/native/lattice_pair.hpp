// The two lattices of an image, bilateral and Gaussian, as one filter.
//
// The values of their vertices lie in one array, each slot with all kept classes: the bilateral lattice's, then the
// Gaussian's.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"
#include "lattice.hpp"
#include "threads.hpp"

namespace crf {

class LatticePair {
  public:
    LatticePair(const Lattice<5>& bilateral, const Lattice<2>& gaussian) : bilateral_(bilateral), gaussian_(gaussian) {}

    // Fixes the layout, when the lattices are built and classes are chosen.
    void set_vectors(int vectors) {
        vectors_ = vectors;
        lanes_ = size_t(vectors) * kLanes;
        gaussian_offset_ = bilateral_.slots * lanes_;
    }
    // Floats in an array of values.
    size_t size() const { return (bilateral_.slots + gaussian_.slots) * lanes_; }

    // What an iteration reads and writes for a tile: simplices, blurred values, sums.
    void set_tile(size_t number, size_t first_pixel, TileStep& step) const {
        step.bilateral = bilateral_.tile(number, first_pixel);
        step.gaussian = gaussian_.tile(number, first_pixel);
    }
    void set_blurred(const float* values, TileStep& step) const {
        step.bilateral_blurred = values;
        step.gaussian_blurred = values + gaussian_offset_;
    }
    void set_sums(float* values, TileStep& step) const {
        step.bilateral_sums = values;
        step.gaussian_sums = values + gaussian_offset_;
    }

    // The values of the vertices that are first met in a tile. They lie together: set them just before the tile is
    // splatted, and they are in the cache.
    void clear_tile(size_t tile, float* values) const {
        for_new_slots(tile, [=](size_t begin, size_t size) { std::fill_n(values + begin, size, 0.f); });
    }
    void copy_tile(size_t tile, const float* from, float* to) const {
        for_new_slots(tile, [=](size_t begin, size_t size) { std::copy_n(from + begin, size, to + begin); });
    }

    // Replaces the blurred values of those vertices by the messages of the classes to each other. In the order of the
    // tiles, just before each is sliced: a tile has vertices of its own and of earlier tiles of its band only.
    void mix_tile(size_t tile, const float* affinity_rows, int classes, float* scratch, float* values) const {
        for_new_slots(tile, [=](size_t begin, size_t size) {
            kernels().mix(values + begin, size / lanes_, affinity_rows, classes, vectors_, scratch);
        });
    }

    // Blurs the values of both lattices along all directions. Every thread calls it, and waits for the others at
    // the start. It does not wait at the end: only the thread's own band is ready then.
    void blur(int thread, int threads, float* values, Barrier& barrier) const;

  private:
    template <class Work>
    void for_new_slots(size_t tile, const Work& work) const {
        const auto& bilateral = bilateral_.first_slot;
        const auto& gaussian = gaussian_.first_slot;
        work(bilateral[tile] * lanes_, (bilateral[tile + 1] - bilateral[tile]) * lanes_);
        work(gaussian_offset_ + gaussian[tile] * lanes_, (gaussian[tile + 1] - gaussian[tile]) * lanes_);
    }

    const Lattice<5>& bilateral_;
    const Lattice<2>& gaussian_;
    int vectors_ = 0;
    size_t lanes_ = 0, gaussian_offset_ = 0;
};

}  // namespace crf
